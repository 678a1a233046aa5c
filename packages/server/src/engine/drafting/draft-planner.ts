/**
 * How much to draft in a step: as many of the most promising guesses of all its sequences as make its tokens cheaper than
 * they are without. Pure; knows nothing about where guesses come from.
 */

import type { DraftTree } from './draft-tree.ts';
import type { StepCost } from './step-cost.ts';

/** A draft has to promise so much more than it costs: learnt figures are never exact. */
const LEAST_GAIN = 1.03;

export interface DraftRoom {
  /** Grown while planning; its first tokens are the draft. */
  readonly tree: DraftTree;
  /** Most tokens that may be drafted for the sequence. */
  readonly most: number;
}

/** A step without drafts. */
export interface StepSize {
  readonly rowCount: number;
  /** Tokens that it gives. */
  readonly tokenCount: number;
}

export interface PlannedStep extends StepSize {
  /** Most rows that it may have with drafts. */
  readonly mostRows: number;
  readonly cost: StepCost;
  /** Milliseconds that drafting at all costs beside the rows. */
  readonly overheadMs: number;
}

/** How many tokens to draft for each sequence. Nobody drafts while no step's cost is known. */
export function planDrafts(rooms: readonly DraftRoom[], step: PlannedStep): number[] {
  const counts = rooms.map(() => 0);
  const order = growByPromise(rooms, step.mostRows - step.rowCount);
  for (const { index } of order.slice(0, bestCount(order, step))) counts[index]!++;
  return counts;
}

interface Growth {
  /** Of the room. */
  readonly index: number;
  readonly score: number;
}

/** Grows the trees one token at a time, always the one that promises the most. */
function growByPromise(rooms: readonly DraftRoom[], most: number): Growth[] {
  const order: Growth[] = [];
  const left = rooms.map((room) => room.most);
  while (order.length < most) {
    let next: Growth = { index: -1, score: 0 };
    for (const [index, { tree }] of rooms.entries()) {
      if (left[index]! > 0 && tree.nextScore > next.score) next = { index, score: tree.nextScore };
    }
    if (next.index < 0) break;
    order.push(next);
    rooms[next.index]!.tree.grow();
    left[next.index]!--;
  }
  return order;
}

/** How many of them give the most tokens per time; none unless that is more than without by a margin. */
function bestCount(order: readonly Growth[], { rowCount, tokenCount, cost, overheadMs }: PlannedStep): number {
  const bare = cost.estimate(rowCount);
  if (bare === undefined) return 0;
  let best = { count: 0, speed: (tokenCount / bare) * LEAST_GAIN };
  let tokens = tokenCount;
  for (const [i, { score }] of order.entries()) {
    tokens += score;
    const speed = tokens / (cost.estimate(rowCount + i + 1)! + overheadMs);
    if (speed > best.speed) best = { count: i + 1, speed };
  }
  return best.count;
}
