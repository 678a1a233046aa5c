/** The lists of adapters of a value's rows as kernels read them: `struct Use` of kernels/adapters.cu. Pure. */

import type { CudaAdapterSlot } from './adapter-slot.ts';
import type { RowSet } from './row-set.ts';

export const USE_BYTES = 24;

export interface AdapterUses {
  /** `[uses]`, ordered by row. */
  readonly uses: Uint8Array;
  readonly count: number;
  /** First use of each row, and the end of the last: `[rows + 1]`. */
  readonly starts: Int32Array;
  /** Every adapter of the rows, once. */
  readonly slots: readonly CudaAdapterSlot[];
  readonly largestRank: number;
}

export function layOutUses({ rows }: RowSet): AdapterUses {
  const count = rows.reduce((sum, adapters) => sum + adapters.length, 0);
  const uses = new Uint8Array(count * USE_BYTES);
  const view = new DataView(uses.buffer);
  const starts = new Int32Array(rows.length + 1);
  const slots = new Set<CudaAdapterSlot>();
  let use = 0;
  for (const [row, adapters] of rows.entries()) {
    for (const { slot, weight } of adapters) {
      const { table, entryCount } = slot as CudaAdapterSlot;
      const at = use++ * USE_BYTES;
      view.setBigUint64(at, table, true);
      view.setInt32(at + 8, entryCount, true);
      view.setFloat32(at + 12, weight, true);
      view.setInt32(at + 16, row, true);
      slots.add(slot as CudaAdapterSlot);
    }
    starts[row + 1] = use;
  }
  const largestRank = Math.max(0, ...[...slots].map((slot) => slot.largestRank));
  return { uses, count, starts, slots: [...slots], largestRank };
}
