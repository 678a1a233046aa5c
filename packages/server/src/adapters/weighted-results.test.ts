import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import type { StepSegment } from '../backend/step.ts';
import { assertClose } from '../testing/closeness.ts';
import { referenceLogits } from '../testing/reference-model.ts';
import { Setting, type AdapterInPlace } from '../testing/setting.ts';
import type { TinyAdapterOptions } from '../testing/tiny-adapter.ts';
import { makeTinyModel, type TinyTensor, type TinyWeights } from '../testing/tiny-model.ts';

const PROMPT = [256, 84, 104, 101, 32, 99, 97];
const TOLERANCE = 2e-5;

/** Neighbours of one rank in one bank, other ranks and places, biases, and both ends of the model. */
const ADAPTERS: readonly TinyAdapterOptions[] = [
  { rank: 4, targets: ['q_proj', 'v_proj'] },
  { rank: 4, alpha: 12, targets: ['q_proj', 'v_proj'] },
  { rank: 3, targets: ['q_proj', 'down_proj'] },
  { rank: 4, alpha: 8, loraBias: true, targets: ['q_proj', 'up_proj'] },
  { rank: 2, targets: ['embed_tokens', 'lm_head'] },
];

interface Weighted {
  readonly adapter: number;
  readonly weight: number;
}

const weighted = fc.record({
  adapter: fc.nat(ADAPTERS.length - 1),
  weight: fc.constantFrom(1, 1, 0.5, -0.7, 1.3, 0),
});

describe('several weighted adapters on one row', () => {
  const model = makeTinyModel();
  let setting: Setting;
  let adapters: AdapterInPlace[];
  before(async () => {
    setting = await Setting.open({ model });
    adapters = [];
    for (const [i, options] of ADAPTERS.entries()) adapters.push(await setting.loadAdapter(options, i));
  });
  after(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  it('give the sum of the base and their weighted deltas, whatever else is in the step', async () => {
    const rows = fc.array(fc.array(weighted, { maxLength: 3 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(rows, async (given) => {
        const logits = await setting.step(given.map((row, i) => segment(row, i)));
        for (const [i, row] of given.entries()) {
          assertClose(logits[i]!, referenceLogits(model.config, summed(row), PROMPT), TOLERANCE, JSON.stringify(row));
        }
      }),
      { seed: 11, numRuns: 25 },
    );
  });

  function segment(row: readonly Weighted[], index: number): StepSegment {
    return {
      tokens: PROMPT,
      position: 0,
      firstCell: index * PROMPT.length,
      adapters: row.map(({ adapter, weight }) => ({ slot: adapters[adapter]!.slot, weight })),
      outputCount: PROMPT.length,
    };
  }

  function summed(row: readonly Weighted[]): TinyWeights {
    const names = new Set([...model.weights.keys(), ...row.flatMap((of) => [...adapters[of.adapter]!.merged.keys()])]);
    return new Map([...names].map((name) => [name, summedTensor(name, row)]));
  }

  function summedTensor(name: string, row: readonly Weighted[]): TinyTensor {
    const { shape } = (model.weights.get(name) ?? adapters.flatMap(({ merged }) => merged.get(name) ?? [])[0])!;
    const base = model.weights.get(name)?.values ?? new Float32Array(shape.reduce((size, length) => size * length, 1));
    const values = Float32Array.from(base, (value, i) =>
      row.reduce((sum, { adapter, weight }) => {
        const changed = adapters[adapter]!.merged.get(name)?.values[i] ?? value;
        return sum + weight * (changed - value);
      }, value),
    );
    return { shape, values };
  }
});
