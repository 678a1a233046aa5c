import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { anyRows, slotOf } from './adapter-rows.arbitrary.ts';
import { groupRows, SHARED_ROWS, TILE_ROWS } from './row-groups.ts';
import type { RowSet } from './row-set.ts';

const half = [{ slot: slotOf({ rank: 8 }), weight: 1 }];
const mixed = [{ slot: slotOf({ rank: 8, factorDtype: undefined }), weight: 1 }];
const several = [...half, ...mixed];

function times<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}

describe('groups of rows', () => {
  it('have every row that has adapters once, with its adapters', () => {
    fc.assert(
      fc.property(anyRows, ({ rows }) => {
        const { mostRows, small, tiles } = groupRows({ rows });
        const groups = [...small, ...tiles];
        const covered = groups.flatMap((group) => group.rows);
        const adapted = [...rows.keys()].filter((row) => rows[row]!.length > 0);
        assert.deepEqual(
          covered.toSorted((a, b) => a - b),
          adapted,
        );
        for (const group of groups) for (const row of group.rows) assert.deepEqual(rows[row], group.adapters);
        assert.ok(small.every((group) => group.rows.length <= mostRows));
        for (const tile of tiles) {
          assert.ok(tile.rows.length <= TILE_ROWS && tile.adapters.length === 1);
          assert.ok(tile.rows.every((row, i) => row === tile.rows[0]! + i));
        }
      }),
    );
  });

  it('are found once for the same rows, and alike for others that are like them', () => {
    fc.assert(
      fc.property(anyRows, ({ rows }) => {
        const found = groupRows({ rows });
        assert.equal(groupRows({ rows }), found);
        assert.deepEqual(groupRows({ rows: [...rows] }), found);
      }),
    );
  });

  it('are tiles where many rows of a sequence have one adapter with factors of one type', () => {
    const tiled = groupRows({ rows: times(100, half) });
    assert.deepEqual([tiled.tiles.map((tile) => tile.rows.length), tiled.small], [[64, 36], []]);
    for (const adapters of [mixed, several]) assert.deepEqual(groupRows({ rows: times(100, adapters) }).tiles, []);
    assert.deepEqual(groupRows({ rows: times(31, half) }).tiles, []);
  });

  it('do not tile the rows of many sequences together: what one gets does not depend on the others', () => {
    const rows = Array.from({ length: 100 }, () => [...half]);
    const { tiles, small } = groupRows({ rows });
    assert.deepEqual([tiles, small.length], [[], 100 / SHARED_ROWS]);
  });

  it('are of rows that need not be neighbours', () => {
    const { small, mostRows } = groupRows({ rows: [half, several, [], [...half], several] });
    assert.equal(mostRows, 2);
    assert.deepEqual(
      small.map((group) => group.rows),
      [
        [0, 3],
        [1, 4],
      ],
    );
  });

  it('are of so many rows that a third of the reads is saved', () => {
    const [one, other] = [half, mixed];
    const mostOf = (...rows: RowSet['rows'][number][]): number => groupRows({ rows }).mostRows;
    assert.deepEqual(
      [mostOf(one, several, other), mostOf(one, other, several, one), mostOf(one, one, other)],
      [1, 1, 2],
    );
    assert.deepEqual([mostOf(one, other, one, other), mostOf(one, one, one, other, other)], [2, SHARED_ROWS]);
  });
});
