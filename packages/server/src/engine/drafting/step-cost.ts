/** What a step costs by its number of rows, learnt from the steps there were. Knows nothing about guesses. */

/**
 * Weight of the newest observation. Slower and faster ones count alike: a size whose steps are slow now and then is not as
 * cheap as its fastest.
 */
const RATE = 0.1;
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
  ms: number;
  count: number;
  /** Number of the last step of this size. */
  step: number;
}

interface Point {
  readonly rowCount: number;
  readonly ms: number;
}

export class StepCost {
  /** What a row costs where only one size was seen; undefined hopes. */
  readonly #rowMs: () => number | undefined;
  readonly #seen = new Map<number, Seen>();
  #stepCount = 0;
  /** By growing numbers of rows, with times that never fall; undefined after something was learnt. */
  #curve: readonly Point[] | undefined;

  constructor(rowMs: () => number | undefined = () => undefined) {
    this.#rowMs = rowMs;
  }

  /** What a row costs on the whole; undefined where fewer than two sizes are known. */
  get rowMs(): number | undefined {
    const curve = (this.#curve ??= this.#makeCurve());
    const [first, last] = [curve[0], curve.at(-1)];
    if (first === undefined || last === undefined || first === last) return undefined;
    return (last.ms - first.ms) / (last.rowCount - first.rowCount);
  }

  learn(rowCount: number, ms: number): void {
    const step = ++this.#stepCount;
    const bucket = bucketOf(rowCount);
    const known = this.#seen.get(bucket);
    if (known === undefined) this.#seen.set(bucket, { ms, count: 1, step });
    else Object.assign(known, { ms: blend(known, ms), count: known.count + 1, step });
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
    const rows = rowsOf(bucketOf(rowCount));
    const next = curve.findIndex((point) => point.rowCount >= rows);
    const above = curve[next];
    if (above?.rowCount === rows) return above.ms;
    const below = next < 0 ? curve.at(-1) : curve[next - 1];
    if (below === undefined) return above?.ms;
    if (above === undefined) return this.#extrapolate(below, rows);
    return below.ms + ((rows - below.rowCount) / (above.rowCount - below.rowCount)) * (above.ms - below.ms);
  }

  /** Beyond what was seen rows cost what they did on the whole: hoping for less would try every size there is. */
  #extrapolate(last: Point, rowCount: number): number {
    const rowMs = this.rowMs ?? this.#rowMs();
    if (rowMs === undefined) return last.ms * (1 + HOPED_GROWTH * Math.log2(rowCount / last.rowCount));
    return last.ms + rowMs * (rowCount - last.rowCount);
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
function blend(known: Seen, ms: number): number {
  if (known.count < FIRST_STEPS) return Math.min(known.ms, ms);
  if (ms * MOST_SURPRISE < known.ms) return ms;
  return known.ms + RATE * (Math.min(ms, known.ms * MOST_SURPRISE) - known.ms);
}

function bucketOf(rowCount: number): number {
  if (rowCount <= EXACT_ROWS) return rowCount;
  return EXACT_ROWS + Math.round(8 * Math.log2(rowCount / EXACT_ROWS));
}

function rowsOf(bucket: number): number {
  return bucket <= EXACT_ROWS ? bucket : EXACT_ROWS * 2 ** ((bucket - EXACT_ROWS) / 8);
}
