/**
 * Gives adapters' products to a step's or draft's program: for all projections of one input a `shrink` to the ranks and an
 * `expand` into their outputs. Ranks are exact, and bare rows take no part. Knows of the batch only its shape: which adapters
 * there are and what they do is in tables that kernels read, and that are laid out anew for each run.
 */

import { NULL } from '../../native/ffi.ts';
import type { EmbeddingTable, Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import {
  divideInner,
  embedGrid,
  expandRowsGrid,
  expandTilesGrid,
  replaceRowsGrid,
  shrinkRowsGrid,
  shrinkTilesGrid,
  shrunkLength,
  type InnerParts,
} from './adapter-grids.ts';
import type { Reach } from './adapter-slot.ts';
import type { Places } from './adapter-table.ts';
import { byteLengthOf, packUses, shapeUses, USE_BYTES } from './adapter-uses.ts';
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

const KERNELS = {
  single: { shrink: 'shrink_rows', expand: 'expand_rows' },
  shared: { shrink: 'shrink_shared_rows', expand: 'expand_shared_rows' },
  tiles: { shrink: 'shrink_tiles', expand: 'expand_tiles' },
} as const satisfies Record<string, { shrink: KernelName; expand: KernelName }>;

/** Uses that the same kernels take. */
interface UseSet {
  readonly kind: keyof typeof KERNELS;
  readonly table: LateArgument;
  readonly count: number;
  readonly rowsPerUse: number;
  readonly rankCapacity: number;
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
  /** `[use, row of the use, projection, part, rank]` float32. */
  readonly slab: Slab;
}

/** An input at the ranks of its rows' adapters, and what it takes to go on from there. */
export interface Shrunk {
  readonly x: CudaValue;
  readonly inFeatures: number;
  readonly parts: InnerParts;
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
    const input = { x, inFeatures, parts: divideInner(inFeatures) };
    const shrunk = groupsOf(this.#findEntrances(projections, reaches)).flatMap((entrances) =>
      sets.map((set) => ({ set, entrances, slab: this.#shrinkSet(input, set, entrances) })),
    );
    return { ...input, sets: shrunk };
  }

  /** Changes the rows of `ys` that have adapters, from `x W^T` to what the adapters make of it: outputs of the same projections. */
  expand({ x, inFeatures, parts, sets }: Shrunk, ys: readonly CudaValue[]): void {
    const program = this.#program;
    for (const { set, entrances, slab } of sets) {
      const widths = entrances.map(({ outFeatures }) => outFeatures);
      const targets = targetArguments(entrances, ys);
      if (entrances.some(({ isReplaced }) => isReplaced)) {
        program.launch('replace_rows', replaceRowsGrid(widths, set), x, x.stride, set.table, inFeatures, ...targets);
      }
      const { grid, outputsPerBlock } =
        set.kind === 'tiles' ? expandTilesGrid(widths, set) : expandRowsGrid(widths, set);
      const numbers = [parts.count, set.rankCapacity, entrances.length, outputsPerBlock];
      program.launch(KERNELS[set.kind].expand, grid, slab, set.table, ...numbers, ...targets);
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

  #shrinkSet({ x, inFeatures, parts }: Omit<Shrunk, 'sets'>, set: UseSet, entrances: readonly Entrance[]): Slab {
    const { kind, table, rankCapacity } = set;
    const count = entrances.length;
    const slab = this.#program.claim(shrunkLength(parts, count, set) * FLOAT_BYTES);
    if (rankCapacity === 0) return slab;
    const places = Array.from({ length: MOST_PROJECTIONS }, (_, i) => entrances[i]?.place ?? 0);
    const grid = kind === 'tiles' ? shrinkTilesGrid(parts, count, set) : shrinkRowsGrid(parts, count, set);
    const exactness = kind === 'tiles' ? [Number(this.#precision === 'high')] : [];
    const numbers = [inFeatures, parts.length, rankCapacity, ...exactness, count, ...places];
    this.#program.launch(KERNELS[kind].shrink, grid, slab, x, x.stride, table, ...numbers);
    return slab;
  }

  #adaptersOf(rowSet: RowSet): Adapters {
    const adapters = this.#adapters.get(rowSet) ?? this.#readAdapters(rowSet);
    this.#adapters.set(rowSet, adapters);
    return adapters;
  }

  /** The rows of the set may have other adapters in the next run of the program, of the same shape. */
  #readAdapters(rowSet: RowSet): Adapters {
    const shape = shapeUses(rowSet);
    const { useCapacity, tileCapacity, rowsPerUse, rankCapacity, reaches } = shape;
    const byteLength = byteLengthOf(shape);
    if (byteLength === 0) return { reaches: [], sets: [] };
    const slab = this.#program.input(byteLength, () => packUses(rowSet, shape));
    const tiles = { slab, offset: useCapacity * USE_BYTES };
    const sets: UseSet[] = [
      { kind: rowsPerUse === 1 ? 'single' : 'shared', table: slab, count: useCapacity, rowsPerUse, rankCapacity },
      { kind: 'tiles', table: tiles, count: tileCapacity, rowsPerUse: TILE_ROWS, rankCapacity },
    ];
    return { reaches, sets: sets.filter(({ count }) => count > 0) };
  }
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
