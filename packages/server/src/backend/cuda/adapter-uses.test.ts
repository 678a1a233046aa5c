import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { anyRows, slotOf } from './adapter-rows.arbitrary.ts';
import { packUses, shapeUses, USE_BYTES } from './adapter-uses.ts';

interface ReadUse {
  readonly table: bigint;
  readonly entryCount: number;
  readonly weight: number;
  readonly row: number;
  readonly rowCount: number;
  readonly next: number;
  readonly isFirst: boolean;
}

/** As the kernels declare it. */
function readUses(bytes: Uint8Array): ReadUse[] {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / USE_BYTES }, (_, i) => {
    const int = (field: number): number => view.getInt32(i * USE_BYTES + field, true);
    const weight = view.getFloat32(i * USE_BYTES + 12, true);
    const rows = { row: int(16), rowCount: int(20), next: int(24), isFirst: int(28) === 1 };
    return { table: view.getBigUint64(i * USE_BYTES, true), entryCount: int(8), weight, ...rows };
  });
}

describe('the uses of adapters', () => {
  it('give each row its adapters in their order, and no other row anything', () => {
    fc.assert(
      fc.property(anyRows, (rowSet) => {
        const shape = shapeUses(rowSet);
        const all = readUses(packUses(rowSet, shape));
        assert.equal(all.length, shape.useCapacity + shape.tileCapacity);
        const uses = all.slice(0, shape.useCapacity);
        const found = rowSet.rows.map((): (readonly [bigint, number])[] => []);
        const visit = (use: ReadUse): void => {
          for (let i = 0; i < use.rowCount; i++) found[use.row + i]!.push([use.table, use.weight]);
          if (use.next !== 0) visit(uses[use.next]!);
        };
        for (const use of all) if (use.isFirst) visit(use);
        const given = rowSet.rows.map((adapters) =>
          adapters.map(({ slot, weight }) => [(slot as CudaAdapterSlot).table, weight] as const),
        );
        assert.deepEqual(found, given);
      }),
    );
  });

  it('are filled up with ones that do nothing', () => {
    const adapters = [{ slot: slotOf({ table: 9n, rank: 20 }), weight: 0.5 }];
    const rowSet = { rows: [adapters, [], [...adapters], [], [...adapters]] };
    const shape = shapeUses(rowSet);
    assert.deepEqual([shape.useCapacity, shape.tileCapacity, shape.rowsPerUse, shape.rankCapacity], [4, 0, 1, 32]);
    const [first, , , last] = readUses(packUses(rowSet, shape));
    assert.deepEqual(first, { table: 9n, entryCount: 10, weight: 0.5, row: 0, rowCount: 1, next: 0, isFirst: true });
    assert.deepEqual(last, { table: 0n, entryCount: 0, weight: 0, row: 0, rowCount: 0, next: 0, isFirst: false });
  });
});
