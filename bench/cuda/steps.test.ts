import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { liveHandles } from '#server/base/handles.ts';
import { findDevice, openBackend } from '#server/serving/backend.ts';
import { readShape } from '../shapes.ts';
import { DECODE_LIMITS, usualTokensPerSecond } from './decode.ts';
import { fillContexts } from './decode-segments.ts';
import { measureHttp, rateTogether } from './http.ts';
import { RandomViews } from './random-views.ts';
import { ResidentModel } from './resident-model.ts';
import type { Result } from './result.ts';
import { cellCount, SIZES, type Sizes } from './sizes.ts';
import { STEP_PARTS } from './steps.ts';

const SHAPE = readShape(
  '{"hiddenSize":64,"layerCount":2,"headCount":4,"kvHeadCount":2,"intermediateSize":96,"vocabSize":320}',
);
/** Everything once, on a machine without a card. */
const SMALL: Sizes = {
  ...{ context: 12, rowCounts: [1, 3], usualRows: 3, adapterCount: 2, rank: 4, ranks: [2, 3] },
  ...{ prompts: { count: 2, length: 9 }, drafts: { rowCount: 2, guesses: 2 }, repeats: 2, loads: 2, newTokens: 8 },
};
const CEILINGS = { bytesPerSecond: 1e9, flopsPerSecond: 1e9 };
const CPU = { device: 'cpu', precision: 'medium' } as const;

async function withModel<T>(work: (model: ResidentModel) => Promise<T>): Promise<T> {
  const { signal } = new AbortController();
  const options = { threads: 1, precision: CPU.precision, ggmlPath: undefined, kernelCacheFolder: '', signal };
  const backend = await openBackend(findDevice('cpu'), options);
  try {
    const size = { shape: SHAPE, cellCount: cellCount(SMALL), precision: CPU.precision };
    const model = await ResidentModel.load(backend, new RandomViews(SHAPE), size);
    await fillContexts(model, SMALL);
    const result = await work(model);
    model.dispose();
    return result;
  } finally {
    backend.dispose();
    assert.deepEqual(liveHandles(), {});
  }
}

async function collect(measured: AsyncIterable<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for await (const result of measured) results.push(result);
  return results;
}

describe('every part', () => {
  it('of steps measures what it says', async () => {
    const works = await withModel(async (model) => {
      const found: string[] = [];
      for (const { measure } of STEP_PARTS) {
        for (const { work, value } of await collect(measure(model, CEILINGS, SMALL))) {
          assert.ok(value > 0 && Number.isFinite(value), `${work}: ${value}`);
          found.push(work);
        }
      }
      return found;
    });
    assert.deepEqual(works, [
      'decode 1 row, base',
      'decode 3 rows, base',
      'decode 1 row, 1 adapter of rank 4',
      'decode 3 rows, 2 adapters of rank 4',
      'decode 3 rows, 2 adapters of ranks 2 to 3',
      'verify 2 guesses each of 2 sequences, base',
      'a new adapter of rank 4 while steps run',
      'the longest step while adapters are loaded',
      'prefill 2 x 9, base',
      'prefill 2 x 9, 2 adapters of rank 4',
    ]);
  });

  it('through HTTP counts every token, and leaves no files', async () => {
    const stepTokensPerSecond = await withModel((model) => usualTokensPerSecond(model, SMALL));
    const settings = { ...CPU, shardCount: 1, shape: SHAPE, sizes: SMALL, folder: undefined, stepTokensPerSecond };
    const [result] = await collect(measureHttp(settings));
    assert.equal(result?.work, 'HTTP, 3 streams, 2 adapters of rank 4');
    assert.ok(result.value > 0, JSON.stringify(result));
    assert.deepEqual(liveHandles(), {});
  });
});

it('every figure to reach is one that is measured', () => {
  const { rowCounts, adapterCount, rank, ranks } = SIZES;
  for (const work of Object.keys(DECODE_LIMITS)) {
    const [, rows, adapters] = /^decode (\d+) rows?, (.*)$/.exec(work)!;
    assert.ok(rowCounts.includes(Number(rows)));
    const mixed = `${adapterCount} adapters of ranks ${Math.min(...ranks)} to ${Math.max(...ranks)}`;
    assert.ok(['base', `${adapterCount} adapters of rank ${rank}`, mixed].includes(adapters!), work);
  }
});

it('streams are counted while all of them run', () => {
  const arrivals = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ atMs: from + 100 * i, eventCount: i === 0 ? 3 : 1 }));
  // From 300 ms, when the second begins, to 900 ms, when the first ends: five tokens of each.
  assert.equal(rateTogether([{ arrivals: arrivals(0, 10) }, { arrivals: arrivals(300, 10) }]), 10 / 0.6);
});
