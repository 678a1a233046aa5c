import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { ENTRY_BYTES, NO_ENTRY, packTable, Places } from './adapter-table.ts';
import { layOutUses, USE_BYTES } from './adapter-uses.ts';

function slotAt(table: bigint, entryCount: number, largestRank: number): CudaAdapterSlot {
  const nothing = { byteLength: 0, weights: new Map(), paths: new Set<string>(), replacedPaths: new Set<string>() };
  return { ...nothing, table, entryCount, largestRank, dispose: () => undefined };
}

describe('an adapter’s table', () => {
  it('has an entry for each place, as the kernels declare it', () => {
    const entry = {
      ...NO_ENTRY,
      ...{ rank: 8, scale: 0.25, outputBias: 40n },
      ...{ a: { address: 10n, dtype: 'bfloat16' as const }, b: { address: 20n, dtype: 'float16' as const } },
    };
    const table = packTable(new Map([[1, entry]]), 2);
    assert.equal(table.length, 2 * ENTRY_BYTES);
    assert.ok(table.subarray(0, ENTRY_BYTES).every((byte) => byte === 0));
    const view = new DataView(table.buffer, ENTRY_BYTES);
    const addresses = [0, 8, 16, 24, 32].map((at) => view.getBigUint64(at, true));
    assert.deepEqual(addresses, [10n, 20n, 0n, 40n, 0n]);
    assert.deepEqual(
      [40, 44, 48, 52].map((at) => view.getInt32(at, true)),
      [8, 2, 1, 0],
    );
    assert.equal(view.getFloat32(56, true), 0.25);
  });

  it('counts places as they are first claimed', () => {
    const places = new Places();
    assert.deepEqual([places.claim('a'), places.claim('b'), places.claim('a')], [0, 1, 0]);
    assert.deepEqual([places.find('b'), places.find('c'), places.count], [1, undefined, 2]);
  });
});

describe('the adapters of rows', () => {
  it('are listed row by row, several a row and none', () => {
    const [one, two] = [slotAt(100n, 3, 4), slotAt(200n, 5, 16)];
    const { uses, count, starts, slots, largestRank } = layOutUses({
      rows: [
        [{ slot: one, weight: 1 }],
        [],
        [
          { slot: two, weight: 0.5 },
          { slot: one, weight: 2 },
        ],
      ],
    });
    assert.deepEqual([count, [...starts], slots, largestRank], [3, [0, 1, 1, 3], [one, two], 16]);
    const view = new DataView(uses.buffer);
    const read = Array.from({ length: count }, (_, i) => i * USE_BYTES).map((at) => [
      view.getBigUint64(at, true),
      view.getInt32(at + 8, true),
      view.getFloat32(at + 12, true),
      view.getInt32(at + 16, true),
    ]);
    assert.deepEqual(read, [
      [100n, 3, 1, 0],
      [200n, 5, 0.5, 2],
      [100n, 3, 2, 2],
    ]);
  });
});
