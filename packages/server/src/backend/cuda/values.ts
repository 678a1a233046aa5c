/** A value of a step or draft on a device. */

import type { Value } from '../backend.ts';
import type { Program, Slab } from './program.ts';
import type { RowSet } from './row-set.ts';

export const FLOAT_BYTES = 4;

export interface CudaValue extends Value {
  /** Where it lies, `[rows, width]` float32. */
  readonly slab: Slab;
  /** In bytes from the slab's beginning. */
  readonly offset: number;
  readonly rowSet: RowSet;
}

export function newValue(program: Program, width: number, rowSet: RowSet): CudaValue {
  const rows = rowSet.rows.length;
  return { rows, width, slab: program.claim(rows * width * FLOAT_BYTES), offset: 0, rowSet };
}

export function elementsOf({ rows, width }: Value): number {
  return rows * width;
}
