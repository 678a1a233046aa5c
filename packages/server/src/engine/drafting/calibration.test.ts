import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backend } from '../../backend/backend.ts';
import type { KvStore } from '../../backend/kv.ts';
import { fakeHeads } from '../../testing/fake-heads.ts';
import { LabelledDrafts } from '../../testing/labelled-drafts.ts';
import { calibrate } from './calibration.ts';
import type { HeadRow } from './batch-medusa-weights.ts';
import { SETTLED_STEPS } from './step-cost.ts';

/** A device whose steps take so long by their rows, and whose heads take a millisecond each. */
async function calibrated(stepMs: (rowCount: number) => number, { cellCount = 1000, signal = never } = {}) {
  let nowMs = 0;
  const drafts = new LabelledDrafts(() => new Float32Array(16));
  const backend: Pick<Backend, 'runStep' | 'runDraft'> = {
    runStep: async (_forward, _kv, [segment]) => {
      const { tokens, position } = segment!;
      assert.ok(position + tokens.length <= cellCount, 'the rows have cells');
      nowMs += stepMs(tokens.length);
      return { best: () => ({ id: 0, logprob: 0 }), logits: unread, hidden: unread, times: NO_TIMES };
    },
    runDraft: (forward, rows) => {
      nowMs += (rows as readonly HeadRow[])[0]!.headCount;
      return drafts.runDraft(forward, rows);
    },
  };
  const steps: [number, number][] = [];
  const heads: [number, number, number][] = [];
  const shape = { layerCount: 1, cellCount, width: 8, types: { key: 'float32', value: 'float32' } } as const;
  const kv: KvStore = { shape, byteLength: 0, moveCells: () => undefined, dispose: () => undefined };
  await calibrate({
    ...{ backend, model: drafts.model, kv, heads: fakeHeads(3), signal, now: () => nowMs },
    costs: {
      ofSteps: { learn: (...cost) => void steps.push(cost) },
      ofHeads: new Map(
        [1, 4].map((candidates) => [candidates, { learn: (...cost) => void heads.push([candidates, ...cost]) }]),
      ),
    },
  });
  return { steps, heads, nowMs };
}

const never = new AbortController().signal;
const NO_TIMES = { buildMs: 0, computeMs: 0 };

function unread(): never {
  throw new Error('nobody reads it');
}

describe('calibrate', () => {
  it('tells what steps of few rows cost undisturbed, so often that it is believed', async () => {
    let disturbance = 100;
    const { steps } = await calibrated((rowCount) => 2 + rowCount + (disturbance > 0 ? disturbance-- % 3 : 0));
    for (const [rowCount, ms] of steps) assert.equal(ms, 2 + rowCount);
    for (const wanted of [1, 2, 5, 8])
      assert.ok(steps.filter(([rowCount]) => rowCount === wanted).length >= SETTLED_STEPS);
  });

  it('tells what each number of heads costs, with one guess and with several', async () => {
    const { heads } = await calibrated(() => 1);
    for (const rankCount of [1, 4]) {
      for (const headCount of [1, 2, 3]) {
        const found = heads.filter(([ranks, count]) => ranks === rankCount && count === headCount);
        assert.ok(found.length >= SETTLED_STEPS && found.every(([, , ms]) => ms === headCount));
      }
    }
  });

  it('ends soon where steps take long, with what it has', async () => {
    const { steps, nowMs } = await calibrated(() => 300);
    assert.ok(steps.length >= 6 && nowMs < 1400, `${steps.length} steps in ${nowMs} ms`);
  });

  it('needs no more cells than there are', async () => {
    const { steps } = await calibrated(() => 1, { cellCount: 3 });
    assert.equal(Math.max(...steps.map(([rowCount]) => rowCount)), 3);
  });

  it('ends when the start is given up', async () => {
    await assert.rejects(
      calibrated(() => 1, { signal: AbortSignal.abort() }),
      { name: 'AbortError' },
    );
  });
});
