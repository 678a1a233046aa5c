/**
 * Steps whose products add, norm and gate on their way, against the same steps with all of that apart. Runs only where there is a card
 * of Hopper's architecture.
 */

import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { assertClose } from '../../testing/closeness.ts';
import { Random } from '../../testing/random.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import { Setting, useCuda } from '../../testing/setting.ts';
import { makeTinyModel } from '../../testing/tiny-model.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { StepSegment } from '../step.ts';
import { chooseDevices, listDevices } from './device.ts';
import { isHopper, Kernels } from './kernels.ts';
import { loadCudaLibraries } from './libraries.ts';

/** Activations are rounded to 16 bits, of which a logit is a sum. */
const TOLERANCE = 0.03;

/** As wide as sums over cards that are finished on their way have to be. */
const model = makeTinyModel({
  ...{ hidden_size: 4096, intermediate_size: 512, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64 },
});
const VOCAB = 264;
const CONTEXT = 8;

/** So many sequences that have the same tokens before. */
function makeRows(count: number): StepSegment[] {
  const random = new Random(count);
  return Array.from({ length: count }, (_, i) => {
    const tokens = random.integers(1, VOCAB);
    return { tokens, position: CONTEXT, firstCell: i * (CONTEXT + 1), adapters: [], outputCount: 1 };
  });
}

interface Observed {
  readonly logits: readonly Float32Array[];
  /** That were launched, by name. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Launch by launch, and as a graph. */
async function observe(stored: Dtype, precision: MatmulPrecision, rows: readonly StepSegment[]): Promise<Observed> {
  const setting = await Setting.open({ model, stored, precision });
  try {
    const before = Array.from({ length: CONTEXT }, (_, i) => i);
    for (const row of rows) await setting.step([{ ...row, position: 0, tokens: before }]);
    const { mock: launches } = mock.method(Kernels.prototype, 'launch');
    const logits = (await setting.step(rows)).flat();
    const counts = new Map<string, number>();
    for (const {
      arguments: [, name],
    } of launches.calls)
      counts.set(name, (counts.get(name) ?? 0) + 1);
    launches.restore();
    logits.push(...(await setting.step(rows)).flat());
    return { logits, counts };
  } finally {
    setting.dispose();
  }
}

describe('a step whose products do what is between them', () => {
  const skip = whyNot();

  afterEach(() => assert.deepEqual(liveHandles(), {}));

  for (const shardCount of [1, 2]) {
    for (const rowCount of [1, 3, 20, 50]) {
      it(`gives ${rowCount} rows what it gives without, in ${shardCount} shards`, { skip }, async () => {
        useCuda(shardCount);
        const rows = makeRows(rowCount);
        const [together, apart] = [await observe('bfloat16', 'medium', rows), await observe('bfloat16', 'high', rows)];
        // Of what follows no sum: the tokens.
        if (shardCount === 1) assert.equal(together.counts.get('norm_rows'), 1);
        assert.equal(together.counts.get('gated_silu'), undefined);
        assert.ok(apart.counts.get('norm_rows')! > 4);
        assertClose(together.logits, apart.logits, TOLERANCE);
      });
    }
  }

  it('gives 20 rows in float16 what it gives without, with norms apart', { skip }, async () => {
    useCuda(1);
    const rows = makeRows(20);
    const [together, apart] = [await observe('float16', 'medium', rows), await observe('float16', 'high', rows)];
    assert.equal(together.counts.get('norm_rows'), apart.counts.get('norm_rows'));
    assert.equal(together.counts.get('gated_silu'), undefined);
    assertClose(together.logits, apart.logits, TOLERANCE);
  });
});

/** What stands in the way of running; false where nothing does. */
function whyNot(): string | false {
  try {
    const [card] = chooseDevices(listDevices(loadCudaLibraries().driver), undefined, 1);
    return isHopper(card!) ? false : `${card!.name} is no Hopper`;
  } catch (error) {
    return String(error);
  }
}
