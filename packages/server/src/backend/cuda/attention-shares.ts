/** What the rows of a step see, cut into shares for the blocks of the attention kernels. Pure arithmetic; knows no segments. */

/** What a row of a step sees. */
export interface VisibleCells {
  readonly row: number;
  readonly first: number;
  /** Neighbours that were there before the step: kernels read them before those ahead are done. */
  readonly oldCount: number;
  readonly newCount: number;
  readonly listStart: number;
}

export const SHARE_INTS = 8;

/** What a block of the kernel looks at in one turn: one trip to memory, which parts of fewer cells would take too. */
const TURN_CELLS = 64;
/** One block adds them up again, a few at a time. */
export const MOST_PARTS = 64;

const UNUSED = -1;
/** The new cells follow the old ones. */
export const NO_LIST = -1;

/** All rows into parts of one length, the shortest that `shareCount` allows. */
export function cutRows(rows: readonly VisibleCells[], shareCount: number): Int32Array {
  const shares = new Int32Array(shareCount * SHARE_INTS).fill(UNUSED);
  const length = partLength(rows, shareCount);
  let end = 0;
  let slot = 0;
  for (const row of rows) {
    const partCount = partsOf(row, length);
    const firstPart = partCount === 1 ? 0 : slot;
    for (let part = 0; part < partCount; part++) {
      putPart(shares, end, row, part * length, Math.min(countCells(row), (part + 1) * length));
      shares[end + 5] = firstPart + part;
      shares[end + 6] = firstPart;
      shares[end + 7] = partCount;
      end += SHARE_INTS;
    }
    if (partCount > 1) slot += partCount;
  }
  return shares;
}

/** Of what the row sees, from one place to another: the first numbers of a share. */
function putPart(shares: Int32Array, at: number, cells: VisibleCells, from: number, to: number): void {
  const { row, first, oldCount, listStart } = cells;
  const [begun, ended] = [Math.min(from, oldCount), Math.min(to, oldCount)];
  shares[at] = row;
  shares[at + 1] = first + from;
  shares[at + 2] = ended - begun;
  shares[at + 3] = to - ended - (from - begun);
  shares[at + 4] = listStart === NO_LIST ? NO_LIST : listStart + from - begun;
}

function countCells({ oldCount, newCount }: VisibleCells): number {
  return oldCount + newCount;
}

function partsOf(row: VisibleCells, length: number): number {
  return Math.max(1, Math.ceil(countCells(row) / length));
}

/** In whole turns. Rows that see so many cells are at most `shareCount`. */
function partLength(rows: readonly VisibleCells[], shareCount: number): number {
  const longest = rows.reduce((most, row) => Math.max(most, countCells(row)), 0);
  let least = Math.ceil(longest / MOST_PARTS / TURN_CELLS);
  let most = Math.ceil(longest / TURN_CELLS);
  while (least < most) {
    const middle = Math.floor((least + most) / 2);
    const shares = rows.reduce((sum, row) => sum + partsOf(row, middle * TURN_CELLS), 0);
    if (shares <= shareCount) most = middle;
    else least = middle + 1;
  }
  return least * TURN_CELLS;
}
