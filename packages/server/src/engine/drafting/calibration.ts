/**
 * Measures what steps of few rows and runs of draft heads cost, so that the first requests need not pay for finding out.
 * Knows nothing about what is drafted.
 */

import type { Backend, Forward } from '../../backend/backend.ts';
import type { KvStore } from '../../backend/kv.ts';
import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import { BatchMedusaWeights } from './batch-medusa-weights.ts';
import { SETTLED_STEPS } from './step-cost.ts';

/** Sizes of steps with the drafts of one sequence; what many sequences take is learnt while they run. */
const ROW_COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16];

/** The fastest of so many counts: whatever else happens on the machine only adds. */
const ROUNDS = 8;

/** After so many milliseconds it ends with what it has: starting a large model should not take longer for this. */
const MOST_MS = 1000;

/** Where the measured rows stand in their sequence, if there are as many cells. */
const POSITION = 128;

/** What is learnt: of steps by their rows, and of heads by how many guess. */
export interface CalibratedCosts {
  readonly ofSteps: LearningCost;
  /** By the number of guesses per place. */
  readonly ofHeads: ReadonlyMap<number, LearningCost>;
}

interface LearningCost {
  learn(size: number, ms: number): void;
}

export interface CalibratedParts {
  readonly backend: Pick<Backend, 'runStep' | 'runDraft'>;
  readonly model: Forward;
  /** With no sequence in it. */
  readonly kv: KvStore;
  /** Undefined measures steps alone. */
  readonly heads: MedusaModel | undefined;
  readonly costs: CalibratedCosts;
  readonly signal: AbortSignal;
  /** In milliseconds. */
  readonly now?: () => number;
}

/** Rejects where a step does. */
export async function calibrate(parts: CalibratedParts): Promise<void> {
  const { costs, kv, heads, signal, now = () => performance.now() } = parts;
  const steps = new Fastest();
  const runs = new Map([...costs.ofHeads.keys()].map((candidates) => [candidates, new Fastest()]));
  const rowCounts = ROW_COUNTS.filter((count) => count <= kv.shape.cellCount);
  const begun = now();
  for (let at = 0; at < ROUNDS * rowCounts.length && now() - begun < MOST_MS; at++) {
    signal.throwIfAborted();
    const rowCount = rowCounts[at % rowCounts.length]!;
    steps.take(rowCount, await timed(now, () => runStep(parts, rowCount)));
    if (rowCount === 1 && heads !== undefined) await measureHeads(parts, heads, runs, now);
  }
  steps.tell(costs.ofSteps);
  for (const [candidates, fastest] of runs) fastest.tell(costs.ofHeads.get(candidates)!);
}

/** The least time that each size took. */
class Fastest {
  readonly #bySize = new Map<number, number>();

  take(size: number, ms: number): void {
    this.#bySize.set(size, Math.min(ms, this.#bySize.get(size) ?? Infinity));
  }

  /** As something that was seen often. */
  tell(cost: LearningCost): void {
    for (let i = 0; i < SETTLED_STEPS; i++) for (const [size, ms] of this.#bySize) cost.learn(size, ms);
  }
}

/** All heads of the last step's row, then fewer of them. */
async function measureHeads(
  { backend, model }: CalibratedParts,
  heads: MedusaModel,
  runs: ReadonlyMap<number, Fastest>,
  now: () => number,
): Promise<void> {
  for (let headCount = heads.headCount; headCount > 0; headCount--) {
    const batch = new BatchMedusaWeights([{ heads, headCount, segment: 0, output: 0, adapters: [] }]);
    for (const [rankCount, fastest] of runs) {
      fastest.take(headCount, await timed(now, () => batch.guess(backend, model, rankCount)));
    }
  }
}

/** One sequence's last token and what would be drafted after it, read as greedy requests read it. */
async function runStep({ backend, model, kv }: CalibratedParts, rowCount: number): Promise<void> {
  const position = Math.min(POSITION, kv.shape.cellCount - rowCount);
  const tokens = Array.from({ length: rowCount }, () => 0);
  const segment = { tokens, position, firstCell: 0, adapters: [], outputCount: rowCount };
  const output = await backend.runStep(model, kv, [segment], { reduce: true, keepHidden: true });
  for (let row = 0; row < rowCount; row++) output.best(0, row);
}

async function timed(now: () => number, work: () => Promise<unknown>): Promise<number> {
  const begun = now();
  await work();
  return now() - begun;
}
