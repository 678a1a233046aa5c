/**
 * Steps whose products add, norm and gate on their way, against the same steps with all of that apart. Runs only where there is a card
 * of Hopper's architecture.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it, mock } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { assertClose } from '../../testing/closeness.ts';
import { Random } from '../../testing/random.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import { Setting, useCuda } from '../../testing/setting.ts';
import type { TinyAdapterOptions } from '../../testing/tiny-adapter.ts';
import { makeTinyModel } from '../../testing/tiny-model.ts';
import type { AdapterSlot } from '../adapters.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { StepSegment } from '../step.ts';
import { chooseDevices, listDevices } from './device.ts';
import { isHopper } from './architecture.ts';
import { Kernels } from './kernels.ts';
import { loadCudaLibraries } from './libraries.ts';

/** Activations are rounded to 16 bits, of which a logit is a sum. */
const TOLERANCE = 0.03;

/** As wide as sums over cards that are finished on their way have to be. */
const model = makeTinyModel({
  ...{ hidden_size: 4096, intermediate_size: 512, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64 },
});
const VOCAB = 264;
const CONTEXT = 8;

const EVERYWHERE = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'lm_head'];

/** Of ranks that are read eight at a time, and of one that is not. */
const ADAPTERS: readonly TinyAdapterOptions[] = [
  { rank: 16, targets: EVERYWHERE, stored: 'bfloat16' },
  { rank: 8, targets: ['q_proj', 'v_proj'], stored: 'float16' },
  { rank: 24, targets: ['o_proj', 'gate_proj', 'down_proj'] },
  { rank: 5, targets: EVERYWHERE },
];

/** They change what products make, not only add to it. */
const SPECIAL: readonly TinyAdapterOptions[] = [
  { rank: 8, targets: ['k_proj'], dora: true },
  { rank: 8, targets: ['up_proj'], loraBias: true },
];

/** So many sequences that have the same tokens before; some have one of the adapters, some two. */
function makeRows(count: number, slots: readonly AdapterSlot[]): StepSegment[] {
  const random = new Random(count);
  return Array.from({ length: count }, (_, i) => {
    const tokens = random.integers(1, VOCAB);
    const adapters = slots
      .map((slot) => ({ slot, weight: 0.75 }))
      .filter((_slot, number) => [number, 2 * number].includes(i % (2 * slots.length)));
    return { tokens, position: CONTEXT, firstCell: i * (CONTEXT + 1), adapters, outputCount: 1 };
  });
}

interface Observed {
  readonly logits: readonly Float32Array[];
  /** That were launched, by name. */
  readonly counts: ReadonlyMap<string, number>;
}

/** One model at one precision, with all adapters. */
class Resident {
  readonly #setting: Setting;
  readonly #slots: readonly AdapterSlot[];

  private constructor(setting: Setting, slots: readonly AdapterSlot[]) {
    this.#setting = setting;
    this.#slots = slots;
  }

  static async open(stored: Dtype, precision: MatmulPrecision): Promise<Resident> {
    const setting = await Setting.open({ model, stored, precision });
    const slots: AdapterSlot[] = [];
    for (const [seed, options] of [...ADAPTERS, ...SPECIAL].entries()) {
      slots.push((await setting.loadAdapter(options, seed)).slot);
    }
    return new Resident(setting, slots);
  }

  /** With so many of the adapters, launch by launch, and as a graph. */
  async observe(rowCount: number, adapterCount: number): Promise<Observed> {
    const setting = this.#setting;
    const rows = makeRows(rowCount, this.#slots.slice(0, adapterCount));
    const tokens = Array.from({ length: CONTEXT }, (_, i) => i);
    for (const row of rows) await setting.step([{ ...row, position: 0, tokens }]);
    const { mock: launches } = mock.method(Kernels.prototype, 'launch');
    const logits = (await setting.step(rows)).flat();
    const counts = new Map<string, number>();
    for (const { arguments: given } of launches.calls) counts.set(given[1], (counts.get(given[1]) ?? 0) + 1);
    launches.restore();
    logits.push(...(await setting.step(rows)).flat());
    return { logits, counts };
  }

  dispose(): void {
    this.#setting.dispose();
  }
}

/** Products that do what is between them, and the same at high precision, where all of that is apart. */
class Pair {
  readonly #residents: readonly [Resident, Resident];

  private constructor(residents: readonly [Resident, Resident]) {
    this.#residents = residents;
  }

  static async open(stored: Dtype, shardCount: number): Promise<Pair> {
    useCuda(shardCount);
    return new Pair([await Resident.open(stored, 'medium'), await Resident.open(stored, 'high')]);
  }

  /** What both launched; their logits are close. */
  async compare(rowCount: number, adapterCount: number): Promise<Record<'together' | 'apart', Observed['counts']>> {
    const [together, apart] = this.#residents;
    const [one, other] = [await together.observe(rowCount, adapterCount), await apart.observe(rowCount, adapterCount)];
    assertClose(one.logits, other.logits, TOLERANCE);
    return { together: one.counts, apart: other.counts };
  }

  dispose(): void {
    for (const resident of this.#residents) resident.dispose();
    assert.deepEqual(liveHandles(), {});
  }
}

const skip = whyNot();

for (const shardCount of [1, 2]) {
  describe(`a step whose products do what is between them, in ${shardCount} shards`, { skip }, () => {
    let pair: Pair;

    before(async () => void (pair = await Pair.open('bfloat16', shardCount)));
    after(() => pair.dispose());

    for (const [rowCount, adapterCount] of [1, 3, 20, 50].flatMap((rows) =>
      [0, ADAPTERS.length].map((n) => [rows, n] as const),
    )) {
      it(`gives ${rowCount} rows with ${adapterCount} adapters what it gives without`, async () => {
        const { together, apart } = await pair.compare(rowCount, adapterCount);
        // Of what follows no sum: the tokens.
        if (shardCount === 1) assert.equal(together.get('norm_rows'), 1);
        assert.equal(together.get('gated_silu'), undefined);
        assert.ok(apart.get('norm_rows')! > 4);
      });
    }

    it('gives 20 rows in one step what adapters add and what others change', async () => {
      const { together } = await pair.compare(20, ADAPTERS.length + SPECIAL.length);
      // What is special enters at keys and beside gates, which are apart then.
      assert.ok(together.get('gated_silu')! > 0);
    });
  });
}

describe('a step whose products do what is between them, in float16', { skip }, () => {
  let pair: Pair;

  before(async () => void (pair = await Pair.open('float16', 1)));
  after(() => pair.dispose());

  it('gives 20 rows with adapters what it gives without, with norms apart', async () => {
    const { together, apart } = await pair.compare(20, ADAPTERS.length);
    assert.equal(together.get('norm_rows'), apart.get('norm_rows'));
    assert.equal(together.get('gated_silu'), undefined);
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
