/**
 * How much to draft in a step: as many of the most promising guesses of all its sequences as make its tokens cheaper than
 * they are without. Pure; knows nothing about where guesses come from.
 */

import type { DraftHope, DraftRoom } from './draft-room.ts';
import type { StepCost } from './step-cost.ts';

/** A draft has to promise so much more than it costs: learnt figures are never exact. */
const LEAST_GAIN = 1.1;

/** A step without drafts. */
export interface StepSize {
  readonly rowCount: number;
  /** Tokens that it gives. */
  readonly tokenCount: number;
}

/** And what it costs to make it larger. */
export interface BareStep extends StepSize {
  /** Most rows that it may have with drafts. */
  readonly mostRows: number;
  readonly cost: StepCost;
}

export interface PlannedStep extends BareStep {
  /** Milliseconds that it costs beside the rows to guess so many places, those of all sequences counted. */
  headMs(placeCount: number): number;
}

export interface DraftPlan {
  /** Tokens to draft for each sequence. */
  readonly counts: readonly number[];
  /** Places that heads have to guess for each of them. */
  readonly placeCounts: readonly number[];
  /** Tokens per millisecond that the step is likely to give. */
  readonly speed: number;
}

/**
 * How many tokens to draft for each sequence: so many of the most promising that the step gives the most tokens per time;
 * none unless that is more than without by a margin, or while no step's cost is known.
 */
export function planDrafts(rooms: readonly DraftRoom[], step: PlannedStep): DraftPlan {
  const { rowCount, tokenCount, mostRows, cost } = step;
  const [counts, placeCounts] = [rooms.map(() => 0), rooms.map(() => 0)];
  const bareMs = cost.estimate(rowCount);
  if (bareMs === undefined) return { counts, placeCounts, speed: 0 };
  let best = { count: 0, speed: (tokenCount / bareMs) * LEAST_GAIN };
  const order: Growth[] = [];
  let [tokens, places] = [tokenCount, 0];
  for (const growth of byPromise(rooms)) {
    const rows = rowCount + order.length + 1;
    if (rows > mostRows || order.length - best.count > mostVain(rows)) break;
    order.push(growth);
    tokens += growth.score;
    places += growth.newPlaces;
    const speed = tokens / (cost.estimate(rows)! + step.headMs(places));
    if (speed > best.speed) best = { count: order.length, speed };
  }
  for (const { index, newPlaces } of order.slice(0, best.count)) {
    counts[index]!++;
    placeCounts[index]! += newPlaces;
  }
  return { counts, placeCounts, speed: best.speed };
}

/**
 * Whether a plan could be worth its rows if all tokens of a sequence were as promising as its first: where not, which is
 * usual for many sequences, nothing has to be planned. Planning takes time too.
 */
export function mayPay(hopes: readonly DraftHope[], { rowCount, tokenCount, mostRows, cost }: BareStep): boolean {
  const bareMs = cost.estimate(rowCount);
  if (bareMs === undefined) return false;
  const leastSpeed = (tokenCount / bareMs) * LEAST_GAIN;
  let [rows, tokens] = [rowCount, tokenCount];
  for (const { chance, most } of hopes.filter((hope) => hope.chance > 0).sort((a, b) => b.chance - a.chance)) {
    for (let left = most; left > 0; left--) {
      rows++;
      tokens += chance;
      if (rows > mostRows || rows - rowCount > mostVain(rows)) return false;
      if (tokens / cost.estimate(rows)! > leastSpeed) return true;
    }
  }
  return false;
}

/** How many tokens are looked at beyond the best number: devices compute rows in tiles, and only a full one pays. */
function mostVain(rowCount: number): number {
  return 32 + rowCount / 2;
}

interface Growth {
  /** Of the room. */
  readonly index: number;
  readonly score: number;
  /** 1 where it is the first token of a place that heads have to guess, else 0. */
  readonly newPlaces: number;
}

/** Grows the trees one token at a time, always the one that promises the most. */
function* byPromise(rooms: readonly DraftRoom[]): Generator<Growth, void, undefined> {
  const left = rooms.map((room) => room.most);
  const scores = rooms.map(({ tree, most }) => (most > 0 ? tree.nextScore : 0));
  for (;;) {
    const index = indexOfMost(scores);
    const score = scores[index] ?? 0;
    if (score <= 0) return;
    const { tree, isFree } = rooms[index]!;
    const reached = tree.placeCount;
    tree.grow();
    scores[index] = --left[index]! > 0 ? tree.nextScore : 0;
    yield { index, score, newPlaces: isFree ? 0 : tree.placeCount - reached };
  }
}

function indexOfMost(scores: readonly number[]): number {
  let most = 0;
  for (let index = 1; index < scores.length; index++) if (scores[index]! > scores[most]!) most = index;
  return most;
}
