import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { anyRows, slotOf } from './adapter-rows.arbitrary.ts';
import { packUses, shapeUses } from './adapter-uses.ts';
import { USE_BYTES } from './use-table.ts';

interface ReadUse {
  readonly table: bigint;
  readonly entryCount: number;
  readonly weight: number;
  /** As many as there are. */
  readonly rows: readonly number[];
  readonly next: number;
  readonly isFirst: boolean;
  readonly share: number;
  readonly shareCount: number;
}

/** As the kernels declare it. */
function readUses(bytes: Uint8Array): ReadUse[] {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / USE_BYTES }, (_, i) => {
    const int = (field: number): number => view.getInt32(i * USE_BYTES + field, true);
    const weight = view.getFloat32(i * USE_BYTES + 12, true);
    const rows = Array.from({ length: int(32) }, (_unused, row) => (row < 4 ? int(16 + 4 * row) : int(16) + row));
    const links = { next: int(36), isFirst: int(40) === 1, share: int(44), shareCount: int(48) };
    return { table: view.getBigUint64(i * USE_BYTES, true), entryCount: int(8), weight, rows, ...links };
  });
}

describe('the uses of adapters', () => {
  it('give each row its adapters in their order, and no other row anything', () => {
    fc.assert(
      fc.property(anyRows, (rowSet) => {
        const shape = shapeUses(rowSet);
        const all = readUses(packUses(rowSet, shape));
        assert.equal(all.length, shape.shareCapacity + shape.tileCapacity);
        const shares = all.slice(0, shape.shareCapacity);
        const found = rowSet.rows.map((): (readonly [bigint, number])[] => []);
        const visit = (use: ReadUse): void => {
          for (const row of use.rows) found[row]!.push([use.table, use.weight]);
          if (use.next !== 0) visit(shares[use.next]!);
        };
        for (const use of all) if (use.isFirst && use.share === 0) visit(use);
        const given = rowSet.rows.map((adapters) =>
          adapters.map(({ slot, weight }) => [(slot as CudaAdapterSlot).table, weight] as const),
        );
        assert.deepEqual(found, given);
      }),
    );
  });

  it('are shares of eight ranks that know their place', () => {
    fc.assert(
      fc.property(anyRows, (rowSet) => {
        const shape = shapeUses(rowSet);
        const shares = readUses(packUses(rowSet, shape)).slice(0, shape.shareCapacity);
        const ranks = new Map(
          rowSet.rows
            .flat()
            .map(({ slot }) => [(slot as CudaAdapterSlot).table, (slot as CudaAdapterSlot).largestRank]),
        );
        for (const [index, use] of shares.entries()) {
          if (use.shareCount === 0) continue;
          assert.equal(use.shareCount, Math.max(1, Math.ceil(ranks.get(use.table)! / 8)));
          assert.deepEqual(use, { ...shares[index - use.share], share: use.share });
        }
      }),
    );
  });

  it('are filled up with ones that do nothing', () => {
    const adapters = [{ slot: slotOf({ table: 9n, rank: 20 }), weight: 0.5 }];
    const rowSet = { rows: [adapters, [], [...adapters], [], [...adapters]] };
    const shape = shapeUses(rowSet);
    assert.deepEqual([shape.shareCapacity, shape.tileCapacity, shape.rowsPerShare, shape.rankCapacity], [4, 0, 4, 0]);
    const [first, , , last] = readUses(packUses(rowSet, shape));
    const links = { next: 0, isFirst: true, share: 0, shareCount: 3 };
    assert.deepEqual(first, { table: 9n, entryCount: 10, weight: 0.5, rows: [0, 2, 4], ...links });
    const nothing = { next: 0, isFirst: false, share: 0, shareCount: 0 };
    assert.deepEqual(last, { table: 0n, entryCount: 0, weight: 0, rows: [], ...nothing });
  });
});
