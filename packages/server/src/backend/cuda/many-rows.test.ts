/** Steps of so many rows that attention takes its kernel for many blocks, against each row alone. Runs only where there is a card. */

import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { present } from '../../base/assert.ts';
import { liveHandles } from '../../base/handles.ts';
import { assertClose } from '../../testing/closeness.ts';
import { Random } from '../../testing/random.ts';
import { Setting, useCuda } from '../../testing/setting.ts';
import { makeTinyModel } from '../../testing/tiny-model.ts';
import type { AttentionShape } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import { shareKernel, variantFor } from './attention.ts';
import { chooseDevices, listDevices, type DeviceProperties } from './device.ts';
import { Kernels } from './kernels.ts';
import { loadCudaLibraries } from './libraries.ts';

/** Products of many rows are other sums than those of one: a key or value of the row's own may be rounded to the other side. */
const TOLERANCE = 1e-4;

const HEADS = { num_attention_heads: 32, num_key_value_heads: 8 };
const VOCAB = 264;

/** That steps are recorded for. */
const MOST_ROWS = 256;

/** A row sees fewer cells than that; one of so many up to LONG, and is cut into parts. */
const SHORT = 200;
const LONG = 1500;
const LONG_EVERY = 8;

/** The fewest for which the kernel for many blocks is taken. */
function countRows({ multiprocessorCount }: DeviceProperties, headDim: number): number {
  const [headCount, kvHeadCount] = [HEADS.num_attention_heads, HEADS.num_key_value_heads];
  const shape: AttentionShape = { layer: 0, headCount, kvHeadCount, headDim, scale: 1, window: undefined };
  const kernel = shareKernel(shape, { key: 'float16', value: 'float16' });
  const counts = Array.from({ length: MOST_ROWS }, (_, i) => i + 1);
  const enough = counts.find((count) => variantFor(kernel, (count * kvHeadCount) / multiprocessorCount) !== kernel);
  return present(enough, 'a step of so many rows');
}

/** Sequences one after the other in the store; each generates next. */
function makeRows(count: number, random: Random): StepSegment[] {
  let end = 0;
  return Array.from({ length: count }, (_, i) => {
    const position = random.integer(i % LONG_EVERY === 0 ? LONG : SHORT);
    const firstCell = end;
    end += position + 1;
    return { tokens: random.integers(1, VOCAB), position, firstCell, adapters: [], outputCount: 1 };
  });
}

/** Computes what comes before each row. */
async function fillStore(setting: Setting, rows: readonly StepSegment[], random: Random): Promise<void> {
  for (const row of rows.filter(({ position }) => position > 0)) {
    await setting.step([{ ...row, position: 0, tokens: random.integers(row.position, VOCAB) }]);
  }
}

interface Observed {
  readonly logits: readonly Float32Array[];
  /** For attention, that were launched. */
  readonly kernels: readonly string[];
}

async function observe(setting: Setting, steps: readonly (readonly StepSegment[])[]): Promise<Observed> {
  const { mock: launches } = mock.method(Kernels.prototype, 'launch');
  const logits: Float32Array[] = [];
  for (const step of steps) logits.push(...(await setting.step(step)).flat());
  const names = launches.calls.map(({ arguments: [, name] }) => name);
  launches.restore();
  return { logits, kernels: [...new Set(names.filter((name) => name.startsWith('attend_')))] };
}

describe('a step of many rows', () => {
  const card = findCard();
  const skip = typeof card === 'string' ? card : false;

  afterEach(() => assert.deepEqual(liveHandles(), {}));

  for (const headDim of [64, 128]) {
    it(`gives each what it has alone by the other kernel, with heads of ${headDim}`, { skip }, async () => {
      useCuda(1);
      const random = new Random(headDim);
      const rows = makeRows(countRows(card as DeviceProperties, headDim), random);
      const model = makeTinyModel({ ...HEADS, head_dim: headDim });
      const setting = await Setting.open({ model, kvDtype: 'float16', cellCount: rows.at(-1)!.firstCell + LONG });
      try {
        await fillStore(setting, rows, random);
        const alone = await observe(
          setting,
          rows.map((row) => [row]),
        );
        // Launch by launch, and as a graph.
        const together = await observe(setting, [rows, rows]);
        assert.deepEqual([alone.kernels, together.kernels], [['attend_float16_4'], ['attend_float16_4_many']]);
        assertClose(together.logits, [...alone.logits, ...alone.logits], TOLERANCE);
      } finally {
        setting.dispose();
      }
    });
  }
});

/** The card, or what stands in the way of running on one. */
function findCard(): DeviceProperties | string {
  try {
    return chooseDevices(listDevices(loadCudaLibraries().driver), undefined, 1)[0]!;
  } catch (error) {
    return String(error);
  }
}
