import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ENTRY_BYTES, NO_ENTRY, packTable, Places } from './adapter-table.ts';

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

  it('shares one reach among adapters that enter at the same places, in whatever order', () => {
    const places = new Places();
    const reach = places.reach(['a', 'b'], ['b'], ['b']);
    assert.equal(places.reach(['b', 'a'], ['b'], ['b']), reach);
    assert.deepEqual([[...reach.paths], [...reach.replacedPaths]], [['a', 'b'], ['b']]);
    const others = [
      ...[places.reach(['a', 'b'], [], []), places.reach(['a', 'b'], ['a'], ['a']), places.reach(['a'], [], [])],
      ...[places.reach(['a', 'b'], [], ['b']), places.reach(['a', 'b'], ['b'], ['a', 'b'])],
    ];
    assert.equal(new Set([reach, ...others].map(({ number }) => number)).size, 6);
  });
});
