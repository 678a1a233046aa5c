import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { KvStore } from '../backend/kv.ts';
import { KvCache } from './kv-cache.ts';

it('KvCache gives spans of cells until none is free, and takes them back', () => {
  let disposed = 0;
  const shape = { layerCount: 1, cellCount: 10, width: 4, types: { key: 'float32', value: 'float32' } } as const;
  const store: KvStore = { shape, byteLength: 320, moveCells: () => undefined, dispose: () => disposed++ };
  const cache = new KvCache(store);
  assert.deepEqual([cache.cellCount, cache.usedCount], [10, 0]);
  const [first, second] = [cache.take(6), cache.take(4)];
  assert.deepEqual(
    [first, second],
    [
      { firstCell: 0, length: 6 },
      { firstCell: 6, length: 4 },
    ],
  );
  assert.equal(cache.take(1), undefined);
  cache.give(first!);
  cache.checkIntegrity();
  assert.equal(cache.usedCount, 4);
  assert.equal(cache.take(7), undefined);
  assert.deepEqual(cache.take(6), first);
  cache.give(first!);
  cache.give(second!);
  cache.checkIntegrity();
  assert.equal(cache.usedCount, 0);
  cache.dispose();
  assert.equal(disposed, 1);
});
