/**
 * What a step costs by its number of rows, learnt from the steps there were: not in milliseconds of some past moment, but at
 * the machine's present pace. Knows nothing about guesses.
 */

import type { Pace } from './pace.ts';

/** Weight of the newest of many observations in a row; slower and faster ones count alike. */
const LEAST_RATE = 0.03;
/** A size that was seen so often is known: when its steps are slow, the machine is. */
export const SETTLED_STEPS = 4;
/** Steps after which a size has mostly to be learnt anew: what steps cost changes, with their context for one. */
const MEMORY = 100;
/** A step that took so many times what was expected was disturbed: it counts as no more than this. */
const MOST_SURPRISE = 2;
/** The first step of a size may be slow for what it sets up: the faster one of so many is taken. */
const FIRST_STEPS = 2;
/** Sizes that did not occur for so many steps are hoped for again: what was expensive may have been disturbed. */
const MOST_AGE = 1000;
/** Growth that is assumed for twice the rows where only one size was seen: little, so that another is tried. */
const HOPED_GROWTH = 0.1;
/** Up to here every number of rows is counted by itself; beyond, eight to each doubling. */
const EXACT_ROWS = 16;

interface Seen {
  /** At a pace of 1. */
  readonly ms: number;
  readonly count: number;
  /** Number of the last step of this size. */
  readonly step: number;
}

interface Point {
  readonly rowCount: number;
  readonly ms: number;
}

export class StepCost {
  readonly #pace: Pace;
  readonly #seen = new Map<number, Seen>();
  #stepCount = 0;
  /** By growing numbers of rows, with times that never fall; undefined after something was learnt. */
  #curve: readonly Point[] | undefined;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  learn(rowCount: number, ms: number): void {
    const step = ++this.#stepCount;
    const bucket = bucketOf(rowCount);
    const known = this.#seen.get(bucket) ?? { ms: ms / this.#pace.factor, count: 0, step };
    if (known.count >= SETTLED_STEPS) this.#pace.observe(Math.min(ms / known.ms, MOST_SURPRISE * this.#pace.factor));
    const pacedMs = blend(known, ms / this.#pace.factor, step - known.step);
    this.#seen.set(bucket, { ms: pacedMs, count: known.count + 1, step });
    this.#curve = undefined;
  }

  /** Whether the last step of about this size was so many steps ago, if there was one. */
  isOlder(rowCount: number, age: number): boolean {
    const seen = this.#seen.get(bucketOf(rowCount));
    return seen !== undefined && this.#stepCount - seen.step >= age;
  }

  /** In milliseconds; undefined while too few steps were seen. More rows never cost less. */
  estimate(rowCount: number): number | undefined {
    const curve = (this.#curve ??= this.#makeCurve());
    const ms = interpolate(curve, rowsOf(bucketOf(rowCount)));
    return ms === undefined ? undefined : ms * this.#pace.factor;
  }

  #makeCurve(): Point[] {
    const curve: Point[] = [];
    let ms = 0;
    for (const [bucket, seen] of [...this.#seen].sort(([a], [b]) => a - b)) {
      if (seen.step < this.#stepCount - MOST_AGE) this.#seen.delete(bucket);
      else if (seen.count >= FIRST_STEPS) curve.push({ rowCount: rowsOf(bucket), ms: (ms = Math.max(ms, seen.ms)) });
    }
    return curve;
  }
}

/** Very slow steps are doubted, very fast ones are not: nothing makes a step faster than it is. */
function blend(known: Seen, ms: number, age: number): number {
  if (known.count < FIRST_STEPS) return Math.min(known.ms, ms);
  if (ms * MOST_SURPRISE < known.ms) return ms;
  const rate = known.count < SETTLED_STEPS ? 1 / known.count : Math.max(LEAST_RATE, 1 - Math.exp(-age / MEMORY));
  return known.ms + rate * (Math.min(ms, known.ms * MOST_SURPRISE) - known.ms);
}

function interpolate(curve: readonly Point[], rowCount: number): number | undefined {
  const next = curve.findIndex((point) => point.rowCount >= rowCount);
  const above = curve[next];
  if (above?.rowCount === rowCount) return above.ms;
  const below = next < 0 ? curve.at(-1) : curve[next - 1];
  if (below === undefined) return above?.ms;
  if (above === undefined) return extrapolate(curve[0]!, below, rowCount);
  return below.ms + ((rowCount - below.rowCount) / (above.rowCount - below.rowCount)) * (above.ms - below.ms);
}

/** Beyond what was seen rows cost what they did on the whole: hoping for less would try every size there is. */
function extrapolate(first: Point, last: Point, rowCount: number): number {
  if (first === last) return last.ms * (1 + HOPED_GROWTH * Math.log2(rowCount / last.rowCount));
  const rowMs = (last.ms - first.ms) / (last.rowCount - first.rowCount);
  return last.ms + rowMs * (rowCount - last.rowCount);
}

function bucketOf(rowCount: number): number {
  if (rowCount <= EXACT_ROWS) return rowCount;
  return EXACT_ROWS + Math.round(8 * Math.log2(rowCount / EXACT_ROWS));
}

/** Not always whole. */
function rowsOf(bucket: number): number {
  return (ROWS_OF[bucket] ??= bucket <= EXACT_ROWS ? bucket : EXACT_ROWS * 2 ** ((bucket - EXACT_ROWS) / 8));
}

/** By bucket: asked for many times a step. */
const ROWS_OF: number[] = [];
