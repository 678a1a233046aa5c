/**
 * The adapters of the rows of a program's values, as kernels read them. Knows of the batch only its shape: which adapters there are and
 * what they do is in tables that are laid out anew for each run.
 */

import type { Reach } from './adapter-slot.ts';
import { byteLengthOf, packUses, shapeUses } from './adapter-uses.ts';
import type { LateArgument, Program } from './program.ts';
import { TILE_ROWS } from './row-groups.ts';
import type { RowSet } from './row-set.ts';
import type { Slab } from './slab.ts';
import { SHARE_RANKS, USE_BYTES } from './use-table.ts';

/** Uses that the same kernels take, tiles or shares. */
export interface UseSet {
  readonly table: LateArgument;
  readonly count: number;
  readonly rowsPerUse: number;
  /** Of the shrunk rows; 0 where no adapter has factors. */
  readonly ranksPerUse: number;
}

const MASK_BITS = 32;
/** Of rows that a mask has bits for. */
const MASK_WORDS = 2;

export class RowAdapters {
  /** Where the adapters enter. */
  readonly reaches: readonly Reach[];
  readonly sets: readonly UseSet[];
  readonly #program: Pick<Program, 'input'>;
  readonly #rowSet: RowSet;
  #mask: Slab | undefined;

  /** The rows may have other adapters in the next run of the program, of the same shape. */
  constructor(program: Pick<Program, 'input'>, rowSet: RowSet) {
    this.#program = program;
    this.#rowSet = rowSet;
    const shape = shapeUses(rowSet);
    const { shareCapacity, tileCapacity, rowsPerShare, hasShrunkShares, rankCapacity, reaches } = shape;
    this.reaches = reaches;
    this.sets = [];
    if (byteLengthOf(shape) === 0) return;
    const slab = program.input(byteLengthOf(shape), () => packUses(rowSet, shape));
    const tiles = { slab, offset: shareCapacity * USE_BYTES };
    const ranksPerUse = hasShrunkShares ? SHARE_RANKS : 0;
    const sets: UseSet[] = [
      { table: slab, count: shareCapacity, rowsPerUse: rowsPerShare, ranksPerUse },
      { table: tiles, count: tileCapacity, rowsPerUse: TILE_ROWS, ranksPerUse: rankCapacity },
    ];
    this.sets = sets.filter(({ count }) => count > 0);
  }

  get hasTiles(): boolean {
    return this.sets.some(isTiles);
  }

  /** A bit for each of the first 64 rows: whether it has adapters. */
  get mask(): Slab {
    const byteLength = MASK_WORDS * Int32Array.BYTES_PER_ELEMENT;
    return (this.#mask ??= this.#program.input(byteLength, () => packMask(this.#rowSet)));
  }

  /** Whether any enters there. */
  enterAt(path: string): boolean {
    return this.reaches.some(({ paths }) => paths.has(path));
  }
}

export function isTiles({ rowsPerUse }: UseSet): boolean {
  return rowsPerUse === TILE_ROWS;
}

function packMask({ rows }: RowSet): Int32Array {
  const mask = new Int32Array(MASK_WORDS);
  for (const [row, adapters] of rows.entries()) {
    const word = Math.floor(row / MASK_BITS);
    if (word < MASK_WORDS && adapters.length > 0) mask[word]! |= 1 << (row % MASK_BITS);
  }
  return mask;
}
