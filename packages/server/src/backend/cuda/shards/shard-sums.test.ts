import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ShardSums } from './shard-sums.ts';

describe('sums over the shards of a load', () => {
  it('are there for everybody once all have given their part', async () => {
    const sums = new ShardSums(3);
    const waiting = [1, 2].map((value) => sums.add('a', Float32Array.of(value, 0)));
    const other = sums.add('b', Float32Array.of(5));
    const last = sums.add('a', Float32Array.of(4, 1));
    assert.deepEqual(await Promise.all([...waiting, last]), Array(3).fill(Float32Array.of(7, 1)));
    sums.fail(new Error('too late for the first'));
    await assert.rejects(other, /too late/);
  });

  it('are never waited for once a shard has failed, before or after', async () => {
    const sums = new ShardSums(2);
    const before = sums.add('a', Float32Array.of(1));
    sums.fail(new Error('no memory'));
    await assert.rejects(before, /no memory/);
    await assert.rejects(sums.add('b', Float32Array.of(1)), /no memory/);
  });
});
