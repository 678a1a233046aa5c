/** What a step costs by its number of rows, learnt from the steps there were. Knows nothing about guesses. */

/** Weight of the newest observation. */
const RATE = 0.1;
/** A step that took so many times what was expected was disturbed: it counts as no more than this. */
const MOST_SURPRISE = 2;
/** Growth per row that is assumed where no such step was seen yet: little, so that it is tried. */
const HOPED_GROWTH = 0.05;
/** Up to here every number of rows is counted by itself; beyond, eight to each doubling. */
const EXACT_ROWS = 16;

export class StepCost {
  /** Milliseconds by bucket. */
  readonly #ms = new Map<number, number>();

  learn(rowCount: number, ms: number): void {
    const bucket = bucketOf(rowCount);
    const known = this.#ms.get(bucket);
    const bounded = known === undefined ? ms : Math.min(ms, known * MOST_SURPRISE);
    this.#ms.set(bucket, known === undefined ? ms : known + RATE * (bounded - known));
  }

  /** In milliseconds; undefined while no step was seen. More rows never cost less. */
  estimate(rowCount: number): number | undefined {
    const exact = this.#ms.get(bucketOf(rowCount));
    const below = this.#nearest(rowCount, -1);
    if (exact !== undefined) return Math.max(exact, below?.ms ?? 0);
    const above = this.#nearest(rowCount, 1);
    if (below && above) {
      const share = (rowCount - below.rowCount) / (above.rowCount - below.rowCount);
      return below.ms + share * Math.max(0, above.ms - below.ms);
    }
    if (below) return below.ms * (1 + HOPED_GROWTH * (rowCount - below.rowCount));
    return above?.ms;
  }

  /** The nearest number of rows that was seen, in one direction. */
  #nearest(rowCount: number, direction: 1 | -1): { readonly rowCount: number; readonly ms: number } | undefined {
    const bucket = bucketOf(rowCount);
    const seen = [...this.#ms.keys()].filter((other) => (other - bucket) * direction > 0);
    if (seen.length === 0) return undefined;
    const nearest = direction > 0 ? Math.min(...seen) : Math.max(...seen);
    return { rowCount: rowsOf(nearest), ms: this.#ms.get(nearest)! };
  }
}

function bucketOf(rowCount: number): number {
  if (rowCount <= EXACT_ROWS) return rowCount;
  return EXACT_ROWS + Math.round(8 * Math.log2(rowCount / EXACT_ROWS));
}

function rowsOf(bucket: number): number {
  return bucket <= EXACT_ROWS ? bucket : EXACT_ROWS * 2 ** ((bucket - EXACT_ROWS) / 8);
}
