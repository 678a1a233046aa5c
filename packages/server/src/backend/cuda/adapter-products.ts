/**
 * Gives adapters' products to a step's or draft's program: for all projections of one input a `shrink` to the ranks and an
 * `expand` into their outputs, or into what is added to them. Ranks are exact, and bare rows take no part.
 */

import type { EmbeddingTable, Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import { embedGrid } from './adapter-grids.ts';
import {
  expandSet,
  MOST_PROJECTIONS,
  putSet,
  replaceSet,
  shrinkSet,
  type AdapterInput,
  type Notes,
  type ShrunkSet,
  type Target,
} from './adapter-launches.ts';
import type { Places } from './adapter-table.ts';
import type { Operand } from './rounding.ts';
import { RowAdapters } from './row-adapters.ts';
import type { RowSet } from './row-set.ts';
import type { Slab } from './slab.ts';
import type { Addend } from './streamed-product.ts';
import { newValue, partsOf, type CudaValue } from './values.ts';

/** A projection where some adapter of the rows enters, by its number among those of its `linear`. */
interface Entrance {
  readonly index: number;
  readonly place: number;
  /** Whether some adapter brings a whole weight. */
  readonly isReplaced: boolean;
}

/** An input at the ranks of its rows' adapters, and what it takes to go on from there. */
export interface Shrunk {
  readonly input: AdapterInput;
  /** For the entrances that one launch takes. */
  readonly sets: readonly (ShrunkSet & { readonly entrances: readonly Entrance[] })[];
}

export class AdapterProducts {
  readonly #program: Notes;
  readonly #places: Places;
  readonly #precision: MatmulPrecision;
  readonly #adapters = new Map<RowSet, RowAdapters>();

  constructor(program: Notes, places: Places, precision: MatmulPrecision) {
    this.#program = program;
    this.#places = places;
    this.#precision = precision;
  }

  /** What adapters need of the input of some projections: before their products, so that factors are read while the input is made. */
  shrink(x: CudaValue, projections: readonly Projection[]): Shrunk {
    const { inFeatures } = projections[0]!;
    const input = { ...x, dtype: 'float32', inFeatures } as const;
    const adapters = this.#adaptersOf(x.rowSet);
    const sets = inLaunches(this.#findEntrances(projections, adapters)).flatMap((entrances) => {
      return this.#shrinkAll(input, adapters, entrances).map((shrunk) => ({ ...shrunk, entrances }));
    });
    return { input, sets };
  }

  /** Changes the rows of `ys` that have adapters, from `x W^T` to what the adapters make of it: outputs of the same projections. */
  expand({ input, sets }: Shrunk, ys: readonly CudaValue[]): void {
    for (const { entrances, ...shrunk } of sets) {
      const targets = entrances.map(({ index, place }) => ({ place, y: ys[index]! }));
      if (entrances.some(({ isReplaced }) => isReplaced)) replaceSet(this.#program, input, shrunk.set, targets);
      expandSet(this.#program, shrunk, targets);
    }
  }

  /** Whether adapters only add to the products of these projections of the rows, so that what they add can be there before. */
  onlyAdd(rowSet: RowSet, projections: readonly Projection[]): boolean {
    const { reaches, hasTiles } = this.#adaptersOf(rowSet);
    return !hasTiles && !projections.some(({ path }) => reaches.some(({ specialPaths }) => specialPaths.has(path)));
  }

  /**
   * What adapters add to the products of groups of projections, one for each group where any enters. `operand` `[rows, in]` is what the
   * products take; they bring its factors to what is added too.
   */
  addends(operand: Operand, rowSet: RowSet, groups: readonly (readonly Projection[])[]): (Addend | undefined)[] {
    const adapters = this.#adaptersOf(rowSet);
    const values = groups.map((group) => {
      if (!group.some(({ path }) => adapters.enterAt(path))) return undefined;
      const width = group.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
      return newValue(this.#program, width, rowSet);
    });
    const { inFeatures } = groups[0]![0]!;
    const input = { ...operand, stride: inFeatures, inFeatures };
    for (const targets of inLaunches(groups.flatMap((group, i) => this.#targetsOf(group, values[i])))) {
      for (const shrunk of this.#shrinkAll(input, adapters, targets)) putSet(this.#program, shrunk, targets);
    }
    return values.map((value) => value && { values: value.slab, columns: adapters.mask });
  }

  /** Changes rows of the token table to what adapters make of them. */
  embed(tokens: Slab, y: CudaValue, { path, vocabSize, hiddenSize }: EmbeddingTable): void {
    const adapters = this.#adaptersOf(y.rowSet);
    if (!adapters.enterAt(path)) return;
    const numbers = [this.#places.claim(path), vocabSize, hiddenSize];
    for (const set of adapters.sets) {
      this.#program.launch('embed_adapters', embedGrid(hiddenSize, set), y, y.stride, tokens, set.table, ...numbers);
    }
  }

  #shrinkAll(input: AdapterInput, { sets }: RowAdapters, at: readonly { readonly place: number }[]): ShrunkSet[] {
    const places = at.map(({ place }) => place);
    return sets.map((set) => shrinkSet(this.#program, input, set, places, this.#precision));
  }

  #findEntrances(projections: readonly Projection[], adapters: RowAdapters): Entrance[] {
    return projections.flatMap(({ path }, index) => {
      if (!adapters.enterAt(path)) return [];
      const isReplaced = adapters.reaches.some(({ replacedPaths }) => replacedPaths.has(path));
      return [{ index, place: this.#places.claim(path), isReplaced }];
    });
  }

  /** All of a group, also where no adapter enters: nothing is added there. */
  #targetsOf(group: readonly Projection[], value: CudaValue | undefined): Target[] {
    if (value === undefined) return [];
    const widths = group.map(({ outFeatures }) => outFeatures);
    return partsOf(value, widths).map((y, i) => ({ place: this.#places.claim(group[i]!.path), y }));
  }

  #adaptersOf(rowSet: RowSet): RowAdapters {
    const adapters = this.#adapters.get(rowSet) ?? new RowAdapters(this.#program, rowSet);
    this.#adapters.set(rowSet, adapters);
    return adapters;
  }
}

/** As many at a time as one launch takes. */
function inLaunches<T>(entrances: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(entrances.length / MOST_PROJECTIONS) }, (_, i) =>
    entrances.slice(i * MOST_PROJECTIONS, (i + 1) * MOST_PROJECTIONS),
  );
}
