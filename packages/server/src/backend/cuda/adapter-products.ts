/** Gives adapters' products to a step's or draft's program. Ranks are exact: nothing is padded, and bare rows take no part. */

import type { EmbeddingTable, Projection } from '../backend.ts';
import type { Places } from './adapter-table.ts';
import { layOutUses, type AdapterUses } from './adapter-uses.ts';
import { perRowElement, perWarp } from './kernels.ts';
import type { Program, Slab } from './program.ts';
import type { RowSet } from './row-set.ts';
import { FLOAT_BYTES, type CudaValue } from './values.ts';

interface UploadedUses extends AdapterUses {
  readonly usesSlab: Slab;
  readonly startsSlab: Slab;
}

export class AdapterProducts {
  readonly #program: Program;
  readonly #places: Places;
  readonly #uses = new Map<RowSet, UploadedUses>();

  constructor(program: Program, places: Places) {
    this.#program = program;
    this.#places = places;
  }

  /** Changes the rows of `y` whose adapters enter at the projection, from `x W^T` to what the adapters make of it. */
  apply(x: CudaValue, y: CudaValue, { path, inFeatures, outFeatures }: Projection): void {
    const found = this.#find(path, y.rowSet);
    if (found === undefined) return;
    const { place, uses } = found;
    const { count, usesSlab, startsSlab, largestRank } = uses;
    const program = this.#program;
    if (uses.slots.some(({ replacedPaths }) => replacedPaths.has(path))) {
      program.launch('replace_rows', perWarp(count, outFeatures), y, x, usesSlab, place, inFeatures, outFeatures);
    }
    const shrunk = program.claim(count * largestRank * FLOAT_BYTES);
    if (largestRank > 0) {
      program.launch('shrink_rows', perWarp(count, largestRank), shrunk, x, usesSlab, place, inFeatures, largestRank);
    }
    const grid = perRowElement(y.rows, outFeatures);
    program.launch('expand_rows', grid, y, shrunk, usesSlab, startsSlab, place, outFeatures, largestRank);
  }

  /** The same at the token table. */
  embed(tokens: Slab, y: CudaValue, { path, vocabSize, hiddenSize }: EmbeddingTable): void {
    const found = this.#find(path, y.rowSet);
    if (found === undefined) return;
    const { usesSlab, startsSlab } = found.uses;
    const grid = perRowElement(y.rows, hiddenSize);
    this.#program.launch('embed_adapters', grid, y, tokens, usesSlab, startsSlab, found.place, vocabSize, hiddenSize);
  }

  /** Undefined where no adapter of the rows enters at the path. */
  #find(path: string, rowSet: RowSet): { readonly place: number; readonly uses: UploadedUses } | undefined {
    const place = this.#places.find(path);
    if (place === undefined) return undefined;
    const uses = this.#uses.get(rowSet) ?? this.#upload(rowSet);
    return uses.slots.some(({ paths }) => paths.has(path)) ? { place, uses } : undefined;
  }

  #upload(rowSet: RowSet): UploadedUses {
    const uses = layOutUses(rowSet);
    const slabs = { usesSlab: this.#program.input(uses.uses), startsSlab: this.#program.input(uses.starts) };
    const uploaded = { ...uses, ...slabs };
    this.#uses.set(rowSet, uploaded);
    return uploaded;
  }
}
