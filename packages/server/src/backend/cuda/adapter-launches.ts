/** The kernels of adapters' products, for rows that the same ones take, given to a program. Knows nothing about the order in which they go. */

import { NULL } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { MatmulPrecision } from '../precision.ts';
import {
  expandRowsGrid,
  expandTilesGrid,
  replaceRowsGrid,
  rowParts,
  shrinkRowsGrid,
  shrinkTilesGrid,
  shrunkLength,
  tileParts,
  type InnerParts,
  type OutputGrid,
} from './adapter-grids.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { KernelName } from './kernel-files.ts';
import type { LateArgument, Program } from './program.ts';
import { isTiles, type UseSet } from './row-adapters.ts';
import { TILE_ROWS } from './row-groups.ts';
import type { Slab } from './slab.ts';
import { FLOAT_BYTES, type CudaValue } from './values.ts';

/** Projections that one launch takes, as the kernels' parameters count them. */
export const MOST_PROJECTIONS = 4;

/** What it takes to write operations down. */
export type Notes = Pick<Program, 'claim' | 'input' | 'launch'>;

/** By how many rows a use has at most. */
const KERNELS = {
  1: { shrink: 'shrink_rows_1', expand: 'expand_rows_1' },
  2: { shrink: 'shrink_rows_2', expand: 'expand_rows_2' },
  4: { shrink: 'shrink_rows_4', expand: 'expand_rows_4' },
  [TILE_ROWS]: { shrink: 'shrink_tiles', expand: 'expand_tiles' },
} as const satisfies Record<number, { shrink: KernelName; expand: KernelName }>;

/** What adapters' factors are multiplied with, `[rows, in]`. */
export interface AdapterInput {
  readonly slab: Slab;
  readonly offset: number;
  /** Float32 beside tiles. */
  readonly dtype: Dtype;
  /** Elements from one row to the next. */
  readonly stride: number;
  readonly inFeatures: number;
}

/** One of the projections of an input: its place in adapters' tables, and its outputs. */
export interface Target {
  readonly place: number;
  readonly y: CudaValue;
}

/** An input at the ranks of some rows' adapters, for projections that one launch takes. */
export interface ShrunkSet {
  readonly set: UseSet;
  readonly parts: InnerParts;
  /** `[use, row of the use, projection, part, rank]` float32. */
  readonly slab: Slab;
}

/** At these places. */
export function shrinkSet(
  program: Notes,
  { slab: x, offset, dtype, stride, inFeatures }: AdapterInput,
  set: UseSet,
  places: readonly number[],
  precision: MatmulPrecision,
): ShrunkSet {
  const count = places.length;
  const parts = isTiles(set) ? tileParts(inFeatures) : rowParts(inFeatures);
  const slab = program.claim(shrunkLength(parts, count, set) * FLOAT_BYTES);
  const shrunk = { set, parts, slab };
  if (set.ranksPerUse === 0) return shrunk;
  const grid = isTiles(set) ? shrinkTilesGrid(parts, count, set) : shrinkRowsGrid(parts, count, set);
  const ranks = isTiles(set) ? [set.ranksPerUse, Number(precision === 'high'), count] : [];
  const types = isTiles(set) ? [] : [ELEMENT_TYPE[dtype]];
  const numbers = [inFeatures, parts.length, ...ranks, ...fill(places, 0)];
  program.launch(kernelsFor(set).shrink, grid, slab, { slab: x, offset }, ...types, stride, set.table, ...numbers);
  return shrunk;
}

/** Added to what the targets' outputs hold. */
export function expandSet(program: Notes, shrunk: ShrunkSet, targets: readonly Target[]): void {
  const { set } = shrunk;
  const widths = widthsOf(targets);
  if (!isTiles(set)) return expandRows(program, shrunk, targets, expandRowsGrid(widths, set, false), false);
  const { grid, outputsPerBlock } = expandTilesGrid(widths, set);
  const numbers = [shrunk.parts.count, set.ranksPerUse, targets.length, outputsPerBlock];
  program.launch(kernelsFor(set).expand, grid, shrunk.slab, set.table, ...numbers, ...targetArguments(targets));
}

/** In the place of what the targets' outputs hold, for a product that streams: of uses that are no tiles. */
export function putSet(program: Notes, shrunk: ShrunkSet, targets: readonly Target[]): void {
  expandRows(program, shrunk, targets, expandRowsGrid(widthsOf(targets), shrunk.set, true), true);
}

function expandRows(
  program: Notes,
  { set, parts, slab }: ShrunkSet,
  targets: readonly Target[],
  { grid, outputsPerBlock }: OutputGrid,
  isEmpty: boolean,
): void {
  const numbers = [parts.count, targets.length, outputsPerBlock, Number(isEmpty)];
  program.launch(kernelsFor(set).expand, grid, slab, set.table, ...numbers, ...targetArguments(targets));
}

/** Outputs of rows whose adapters bring a weight. */
export function replaceSet(
  program: Notes,
  { slab, offset, stride, inFeatures }: AdapterInput,
  set: UseSet,
  targets: readonly Target[],
): void {
  const { grid, outputsPerBlock } = replaceRowsGrid(widthsOf(targets), set);
  const numbers = [inFeatures, outputsPerBlock];
  program.launch('replace_rows', grid, { slab, offset }, stride, set.table, ...numbers, ...targetArguments(targets));
}

function kernelsFor({ rowsPerUse }: UseSet): { readonly shrink: KernelName; readonly expand: KernelName } {
  return KERNELS[rowsPerUse as keyof typeof KERNELS];
}

function widthsOf(targets: readonly Target[]): number[] {
  return targets.map(({ y }) => y.width);
}

/** Address, stride, place and width of each output, without any where there are fewer. */
function targetArguments(targets: readonly Target[]): LateArgument[] {
  const given = targets.map(({ y, place }): LateArgument[] => [y, y.stride, place, y.width]);
  return fill(given, [NULL, 0, 0, 0]).flat();
}

/** As many as a launch has projections. */
function fill<T>(values: readonly T[], rest: T): T[] {
  return Array.from({ length: MOST_PROJECTIONS }, (_, i) => values[i] ?? rest);
}
