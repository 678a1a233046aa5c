/**
 * Gives adapters' products to a step's or draft's program: for all projections of one input a `shrink` to the ranks and an
 * `expand` into their outputs. Ranks are exact, and bare rows take no part. Knows of the batch only its shape: which adapters
 * there are and what they do is in tables that kernels read, and that are laid out anew for each run.
 */

import { NULL } from '../../native/ffi.ts';
import type { EmbeddingTable, Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import {
  embedGrid,
  expandRowsGrid,
  expandTilesGrid,
  replaceRowsGrid,
  rowParts,
  shrinkRowsGrid,
  shrinkTilesGrid,
  shrunkLength,
  tileParts,
  type InnerParts,
} from './adapter-grids.ts';
import type { Reach } from './adapter-slot.ts';
import type { Places } from './adapter-table.ts';
import { byteLengthOf, packUses, SHARE_RANKS, shapeUses, USE_BYTES } from './adapter-uses.ts';
import type { KernelName } from './kernels.ts';
import type { LateArgument, Program } from './program.ts';
import { TILE_ROWS } from './row-groups.ts';
import type { RowSet } from './row-set.ts';
import type { Slab } from './slab.ts';
import { FLOAT_BYTES, type CudaValue } from './values.ts';

/** Projections that one launch takes, as the kernels' parameters count them. */
const MOST_PROJECTIONS = 4;

/** What it takes to write operations down. */
type Notes = Pick<Program, 'claim' | 'input' | 'launch'>;

/** By how many rows a use has at most. */
const KERNELS = {
  1: { shrink: 'shrink_rows_1', expand: 'expand_rows_1' },
  2: { shrink: 'shrink_rows_2', expand: 'expand_rows_2' },
  4: { shrink: 'shrink_rows_4', expand: 'expand_rows_4' },
  [TILE_ROWS]: { shrink: 'shrink_tiles', expand: 'expand_tiles' },
} as const satisfies Record<number, { shrink: KernelName; expand: KernelName }>;

/** Uses that the same kernels take, tiles or shares. */
interface UseSet {
  readonly table: LateArgument;
  readonly count: number;
  readonly rowsPerUse: number;
  /** Of the shrunk rows; 0 where no adapter has factors. */
  readonly ranksPerUse: number;
}

/** The adapters of a row set. */
interface Adapters {
  readonly reaches: readonly Reach[];
  readonly sets: readonly UseSet[];
}

/** A projection where some adapter of the rows enters, by its number among those of its `linear`. */
interface Entrance {
  readonly index: number;
  readonly place: number;
  readonly outFeatures: number;
  /** Whether some adapter brings a whole weight. */
  readonly isReplaced: boolean;
}

/** An input at the ranks of some rows' adapters, for projections that one launch takes. */
interface ShrunkSet {
  readonly set: UseSet;
  readonly entrances: readonly Entrance[];
  readonly parts: InnerParts;
  /** `[use, row of the use, projection, part, rank]` float32. */
  readonly slab: Slab;
}

/** An input at the ranks of its rows' adapters, and what it takes to go on from there. */
export interface Shrunk {
  readonly x: CudaValue;
  readonly inFeatures: number;
  readonly sets: readonly ShrunkSet[];
}

export class AdapterProducts {
  readonly #program: Notes;
  readonly #places: Places;
  readonly #precision: MatmulPrecision;
  readonly #adapters = new Map<RowSet, Adapters>();

  constructor(program: Notes, places: Places, precision: MatmulPrecision) {
    this.#program = program;
    this.#places = places;
    this.#precision = precision;
  }

  /** What adapters need of the input of some projections: before their products, so that factors are read while the input is made. */
  shrink(x: CudaValue, projections: readonly Projection[]): Shrunk {
    const { reaches, sets } = this.#adaptersOf(x.rowSet);
    const { inFeatures } = projections[0]!;
    const input = { x, inFeatures };
    const shrunk = groupsOf(this.#findEntrances(projections, reaches)).flatMap((entrances) =>
      sets.map((set) => this.#shrinkSet(input, set, entrances)),
    );
    return { ...input, sets: shrunk };
  }

  /** Changes the rows of `ys` that have adapters, from `x W^T` to what the adapters make of it: outputs of the same projections. */
  expand({ x, inFeatures, sets }: Shrunk, ys: readonly CudaValue[]): void {
    const program = this.#program;
    for (const { set, entrances, parts, slab } of sets) {
      const widths = entrances.map(({ outFeatures }) => outFeatures);
      const targets = targetArguments(entrances, ys);
      if (entrances.some(({ isReplaced }) => isReplaced)) {
        const { grid, outputsPerBlock } = replaceRowsGrid(widths, set);
        const numbers = [inFeatures, outputsPerBlock];
        program.launch('replace_rows', grid, x, x.stride, set.table, ...numbers, ...targets);
      }
      const { grid, outputsPerBlock } = isTiles(set) ? expandTilesGrid(widths, set) : expandRowsGrid(widths, set);
      const ranks = isTiles(set) ? [set.ranksPerUse] : [];
      const numbers = [parts.count, ...ranks, entrances.length, outputsPerBlock];
      program.launch(kernelsFor(set).expand, grid, slab, set.table, ...numbers, ...targets);
    }
  }

  /** Changes rows of the token table to what adapters make of them. */
  embed(tokens: Slab, y: CudaValue, { path, vocabSize, hiddenSize }: EmbeddingTable): void {
    const { reaches, sets } = this.#adaptersOf(y.rowSet);
    if (!entersAt(path, reaches)) return;
    const numbers = [this.#places.claim(path), vocabSize, hiddenSize];
    for (const set of sets) {
      this.#program.launch('embed_adapters', embedGrid(hiddenSize, set), y, y.stride, tokens, set.table, ...numbers);
    }
  }

  #findEntrances(projections: readonly Projection[], reaches: readonly Reach[]): Entrance[] {
    return projections.flatMap(({ path, outFeatures }, index) => {
      if (!entersAt(path, reaches)) return [];
      const isReplaced = reaches.some(({ replacedPaths }) => replacedPaths.has(path));
      return [{ index, place: this.#places.claim(path), outFeatures, isReplaced }];
    });
  }

  #shrinkSet({ x, inFeatures }: Omit<Shrunk, 'sets'>, set: UseSet, entrances: readonly Entrance[]): ShrunkSet {
    const count = entrances.length;
    const parts = isTiles(set) ? tileParts(inFeatures) : rowParts(inFeatures);
    const slab = this.#program.claim(shrunkLength(parts, count, set) * FLOAT_BYTES);
    const shrunk = { set, entrances, parts, slab };
    if (set.ranksPerUse === 0) return shrunk;
    const places = Array.from({ length: MOST_PROJECTIONS }, (_, i) => entrances[i]?.place ?? 0);
    const grid = isTiles(set) ? shrinkTilesGrid(parts, count, set) : shrinkRowsGrid(parts, count, set);
    const ranks = isTiles(set) ? [set.ranksPerUse, Number(this.#precision === 'high'), count] : [];
    const numbers = [inFeatures, parts.length, ...ranks, ...places];
    this.#program.launch(kernelsFor(set).shrink, grid, slab, x, x.stride, set.table, ...numbers);
    return shrunk;
  }

  #adaptersOf(rowSet: RowSet): Adapters {
    const adapters = this.#adapters.get(rowSet) ?? this.#readAdapters(rowSet);
    this.#adapters.set(rowSet, adapters);
    return adapters;
  }

  /** The rows of the set may have other adapters in the next run of the program, of the same shape. */
  #readAdapters(rowSet: RowSet): Adapters {
    const shape = shapeUses(rowSet);
    const { shareCapacity, tileCapacity, rowsPerShare, hasShrunkShares, rankCapacity, reaches } = shape;
    const byteLength = byteLengthOf(shape);
    if (byteLength === 0) return { reaches: [], sets: [] };
    const slab = this.#program.input(byteLength, () => packUses(rowSet, shape));
    const tiles = { slab, offset: shareCapacity * USE_BYTES };
    const ranksPerUse = hasShrunkShares ? SHARE_RANKS : 0;
    const sets: UseSet[] = [
      { table: slab, count: shareCapacity, rowsPerUse: rowsPerShare, ranksPerUse },
      { table: tiles, count: tileCapacity, rowsPerUse: TILE_ROWS, ranksPerUse: rankCapacity },
    ];
    return { reaches, sets: sets.filter(({ count }) => count > 0) };
  }
}

function isTiles({ rowsPerUse }: UseSet): boolean {
  return rowsPerUse === TILE_ROWS;
}

function kernelsFor({ rowsPerUse }: UseSet): { readonly shrink: KernelName; readonly expand: KernelName } {
  return KERNELS[rowsPerUse as keyof typeof KERNELS];
}

/** As many at a time as one launch takes. */
function groupsOf(entrances: readonly Entrance[]): Entrance[][] {
  return Array.from({ length: Math.ceil(entrances.length / MOST_PROJECTIONS) }, (_, i) =>
    entrances.slice(i * MOST_PROJECTIONS, (i + 1) * MOST_PROJECTIONS),
  );
}

/** Address, stride, place and width of each output, without any where there are fewer. */
function targetArguments(entrances: readonly Entrance[], ys: readonly CudaValue[]): LateArgument[] {
  return Array.from({ length: MOST_PROJECTIONS }, (_, i) => {
    const entrance = entrances[i];
    if (entrance === undefined) return [NULL, 0, 0, 0];
    const y = ys[entrance.index]!;
    return [y, y.stride, entrance.place, entrance.outFeatures];
  }).flat();
}

function entersAt(path: string, reaches: readonly Reach[]): boolean {
  return reaches.some(({ paths }) => paths.has(path));
}
