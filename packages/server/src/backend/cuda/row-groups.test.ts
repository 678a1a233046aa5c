import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { anyRows, slotOf } from './adapter-rows.arbitrary.ts';
import { groupRows, SHARED_ROWS, TILE_ROWS } from './row-groups.ts';

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
        const covered = groups.flatMap(({ row, rowCount }) => Array.from({ length: rowCount }, (_, i) => row + i));
        const adapted = [...rows.keys()].filter((row) => rows[row]!.length > 0);
        assert.deepEqual(
          covered.toSorted((a, b) => a - b),
          adapted,
        );
        for (const { row, rowCount, adapters } of groups) {
          for (const own of rows.slice(row, row + rowCount)) assert.deepEqual(own, adapters);
        }
        assert.ok(small.every(({ rowCount }) => rowCount <= mostRows));
        assert.ok(tiles.every(({ rowCount, adapters }) => rowCount <= TILE_ROWS && adapters.length === 1));
      }),
    );
  });

  it('are tiles where many rows of a sequence have one adapter with factors of one type', () => {
    const tiled = groupRows({ rows: times(100, half) });
    assert.deepEqual([tiled.tiles.map(({ rowCount }) => rowCount), tiled.small], [[64, 36], []]);
    for (const adapters of [mixed, several]) assert.deepEqual(groupRows({ rows: times(100, adapters) }).tiles, []);
    assert.deepEqual(groupRows({ rows: times(31, half) }).tiles, []);
  });

  it('do not tile the rows of many sequences together: what one gets does not depend on the others', () => {
    const rows = Array.from({ length: 100 }, () => [...half]);
    const { tiles, small } = groupRows({ rows });
    assert.deepEqual([tiles, small.length], [[], 100 / SHARED_ROWS]);
  });

  it('are single rows where few could share', () => {
    const [one, other] = [half, mixed];
    assert.deepEqual(
      [groupRows({ rows: [one, other, one] }).mostRows, groupRows({ rows: [one, one, other] }).mostRows],
      [1, 1],
    );
    assert.equal(groupRows({ rows: [one, one, one, other, other] }).mostRows, SHARED_ROWS);
  });
});
