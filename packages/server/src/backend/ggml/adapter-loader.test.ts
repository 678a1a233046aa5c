import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../../base/handles.ts';
import { assertClose } from '../../testing/closeness.ts';
import { Setting, type AdapterInPlace } from '../../testing/setting.ts';
import { writeTinyAdapter } from '../../testing/tiny-adapter.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';

const QV = ['q_proj', 'v_proj'];
const TOKENS = [5, 9, 2, 200];

describe('adapters in banks', () => {
  let setting: Setting;
  let before: Record<string, number>;
  beforeEach(async () => {
    setting = await Setting.open();
    // The first step makes the rotary tables, which stay.
    await setting.logitsOf(TOKENS);
    before = liveHandles();
  });
  afterEach(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  const place = ({ slot }: AdapterInPlace): { bank: number; offset: number; extent: number } => {
    const { bank, offset, extent } = slot as GgmlAdapterSlot;
    return { bank: bank.id, offset, extent };
  };

  it('lie side by side where they enter the same places', async () => {
    const first = await setting.loadAdapter({ rank: 16, targets: QV });
    const second = await setting.loadAdapter({ rank: 4, ranks: { v_proj: 8 }, targets: QV });
    const elsewhere = await setting.loadAdapter({ rank: 16, targets: ['q_proj'] });
    assert.deepEqual(place(first), { bank: 0, offset: 0, extent: 16 });
    assert.deepEqual(place(second), { bank: 0, offset: 16, extent: 8 });
    assert.deepEqual(place(elsewhere), { bank: 1, offset: 0, extent: 16 });
  });

  it('use the gaps that others leave', async () => {
    const [first] = [
      await setting.loadAdapter({ rank: 8, targets: QV }),
      await setting.loadAdapter({ rank: 8, targets: QV }),
    ];
    setting.unload(first);
    const smaller = await setting.loadAdapter({ rank: 3, targets: QV });
    const larger = await setting.loadAdapter({ rank: 8, targets: QV });
    assert.deepEqual(place(smaller), { bank: 0, offset: 0, extent: 3 });
    assert.deepEqual(place(larger), { bank: 0, offset: 16, extent: 8 });
  });

  it('open another bank where none has room, and close the banks that are empty', async () => {
    const full = await setting.loadAdapter({ rank: 128, targets: ['q_proj'] });
    const next = await setting.loadAdapter({ rank: 1, targets: ['q_proj'] });
    const huge = await setting.loadAdapter({ rank: 200, targets: ['q_proj'] });
    assert.deepEqual(place(next), { bank: 1, offset: 0, extent: 1 });
    assert.deepEqual(place(huge), { bank: 2, offset: 0, extent: 200 });
    for (const adapter of [full, next, huge]) setting.unload(adapter);
    assert.deepEqual(liveHandles(), before);
  });

  it('load one after the other, whoever asks at the same time', async () => {
    const alone = await setting.loadAdapter({ rank: 4, dora: true, targets: QV }, 3);
    const expected = await setting.logitsOf(TOKENS, alone);
    const together = await Promise.all(
      [1, 2, 3].map((seed) => setting.loadAdapter({ rank: 4, dora: true, targets: QV }, seed)),
    );
    // Which of them comes first is decided by the disk that their configs are read from.
    const offsets = together.map((adapter) => place(adapter).offset);
    assert.deepEqual(
      offsets.sort((a, b) => a - b),
      [4, 8, 12],
    );
    assertClose(await setting.logitsOf(TOKENS, together[2]), expected, 1e-6);
  });

  it('give everything back when a load fails, and leave the others as they were', async () => {
    const options = { rank: 4, dora: true, targets: QV, saved: ['lm_head'] };
    const neighbour = await setting.loadAdapter(options, 1);
    const expected = await setting.logitsOf(TOKENS, neighbour);
    const loaded = liveHandles();
    const { folder, config, tensors } = setting.writeAdapter(options, 2);
    const names = [...tensors.keys()];
    for (const name of [names[0]!, names[4]!, names.at(-2)!]) {
      const { shape, values } = tensors.get(name)!;
      const broken = new Map(tensors).set(name, { shape, values: values.map(() => NaN) });
      writeTinyAdapter(folder, { config, tensors: broken });
      await assert.rejects(setting.loader.load(folder, 'broken', new AbortController().signal), /not finite/);
      assert.deepEqual(liveHandles(), loaded);
    }
    const next = await setting.loadAdapter(options, 3);
    assert.equal(place(next).offset, place(neighbour).offset + 4);
    assertClose(await setting.logitsOf(TOKENS, neighbour), expected, 1e-6);
  });

  it('never overlap, and compute the same wherever they lie', async () => {
    const ranks = [1, 2, 5, 16, 60];
    const expected = new Map<number, Float32Array[]>();
    for (const rank of ranks) {
      const adapter = await setting.loadAdapter({ rank, targets: ['q_proj'] }, rank);
      expected.set(rank, await setting.logitsOf(TOKENS, adapter));
      setting.unload(adapter);
    }
    const action = fc.oneof(fc.record({ load: fc.constantFrom(...ranks) }), fc.record({ unload: fc.nat(20) }));
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 10 }), async (actions) => {
        const resident: { adapter: AdapterInPlace; rank: number }[] = [];
        for (const step of actions) {
          if ('load' in step) {
            const adapter = await setting.loadAdapter({ rank: step.load, targets: ['q_proj'] }, step.load);
            resident.push({ adapter, rank: step.load });
          } else if (resident.length > 0) {
            setting.unload(resident.splice(step.unload % resident.length, 1)[0]!.adapter);
          }
          checkApart(resident.map(({ adapter }) => place(adapter)));
        }
        for (const { adapter, rank } of resident) {
          assertClose(await setting.logitsOf(TOKENS, adapter), expected.get(rank)!, 1e-6);
        }
        for (const { adapter } of resident) setting.unload(adapter);
        assert.deepEqual(liveHandles(), before);
      }),
      { seed: 1, numRuns: 12 },
    );
  });
});

function checkApart(places: readonly { bank: number; offset: number; extent: number }[]): void {
  for (const [i, a] of places.entries()) {
    for (const b of places.slice(i + 1)) {
      const apart = a.bank !== b.bank || a.offset + a.extent <= b.offset || b.offset + b.extent <= a.offset;
      assert.ok(apart, JSON.stringify([a, b]));
    }
  }
}
