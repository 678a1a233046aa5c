import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { partOf, shareOf } from './shard-place.ts';

function partsOf(length: number, count: number): { start: number; length: number }[] {
  return Array.from({ length: count }, (_, index) => partOf(length, { index, count }));
}

describe('the parts of a dimension', () => {
  it('follow each other, cover it and are never empty', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 5000 }), (count, more) => {
        const length = count + more;
        let end = 0;
        for (const part of partsOf(length, count)) {
          assert.equal(part.start, end);
          assert.ok(part.length > 0);
          end += part.length;
        }
        assert.equal(end, length);
      }),
    );
  });

  it('are equal where the length allows it', () => {
    assert.deepEqual(
      partsOf(12, 4).map(({ length }) => length),
      [3, 3, 3, 3],
    );
  });

  it('begin at multiples of 8 where they are long and unequal', () => {
    assert.deepEqual(partsOf(32_003, 2), [
      { start: 0, length: 16_000 },
      { start: 16_000, length: 16_003 },
    ]);
  });
});

describe('an exact share', () => {
  it('is refused where there is none', () => {
    assert.equal(shareOf(8, { index: 1, count: 4 }), 2);
    assert.throws(() => shareOf(6, { index: 1, count: 4 }), /6 divided evenly among 4 shards/);
  });
});
