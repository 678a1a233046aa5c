/**
 * Sequences that run for ever on a machine whose steps cost what a test says, with heads that are right as often as it
 * says, and texts that repeat themselves as it says. Time is counted, not waited for.
 */

import type { MedusaModel } from '../layers/medusa/medusa-model.ts';
import type { DraftRow, StepOutput } from '../backend/step.ts';
import type { HeadRow } from '../engine/drafting/batch-medusa-weights.ts';
import { Drafting, type AdvancedSequence } from '../engine/drafting/drafting.ts';
import { SequenceDrafter } from '../engine/drafting/sequence-drafter.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { TokenHistory } from '../engine/sampling/token-history.ts';
import { Sequence } from '../engine/sequence.ts';
import { LabelledDrafts, type Label } from './labelled-drafts.ts';
import { Random } from './random.ts';

const VOCAB_SIZE = 8;
const MOST_TOKENS = 1_000_000;
/** One of the two best guesses is right so many times as often as the best one. */
const SECOND_CHANCE = 1.5;

export interface DraftingMachine {
  readonly sequenceCount: number;
  readonly heads: MedusaModel;
  readonly candidates?: number;
  /** Tokens that are also guessed by looking back. */
  readonly lookbackPlaces?: number;
  /** Milliseconds of a step. */
  stepMs(rowCount: number): number;
  /** Milliseconds of a run of the heads, by the rows of all heads. */
  headMs(rowCount: number): number;
  /** How often the first guess for a place is right, where those before are. */
  chance(place: number): number;
  /** What is chosen at a position; what looking back can find follows from it. */
  truthAt?(position: number): number;
}

export class DraftingSetting {
  /** May be changed while it runs. */
  machine: DraftingMachine;
  nowMs = 0;
  stepCount = 0;
  tokenCount = 0;
  draftedCount = 0;
  /** Numbers of the steps after which heads ran. */
  readonly guessedAt: number[] = [];
  readonly #random = new Random(1);
  readonly #drafters: readonly SequenceDrafter[];
  readonly #drafting: Drafting;

  constructor(machine: DraftingMachine) {
    this.machine = machine;
    const backend = new LabelledDrafts((label) => this.#scores(label));
    const timed = {
      runDraft: (...args: Parameters<LabelledDrafts['runDraft']>) => {
        this.nowMs += this.machine.headMs(
          (args[1] as readonly HeadRow[]).reduce((sum, { headCount }) => sum + headCount, 0),
        );
        return backend.runDraft(...args);
      },
    };
    this.#drafting = new Drafting(timed, backend.model, {
      candidates: machine.candidates ?? 1,
      mostRows: Infinity,
      observer: {
        onVerified: (drafts) => {
          for (const { drafted } of drafts) for (const count of drafted) this.draftedCount += count;
        },
        onGuessed: () => void this.guessedAt.push(this.stepCount),
      },
      now: () => this.nowMs,
    });
    this.#drafters = Array.from({ length: machine.sequenceCount }, () => makeDrafter(machine));
  }

  /** Tokens per millisecond over so many steps, against what they would be without drafts. */
  async speedUp(steps: number): Promise<number> {
    const [begunMs, begunCount] = [this.nowMs, this.tokenCount];
    for (let step = 0; step < steps; step++) await this.#step();
    const { sequenceCount } = this.machine;
    const speed = (this.tokenCount - begunCount) / (this.nowMs - begunMs);
    return speed / (sequenceCount / this.machine.stepMs(sequenceCount));
  }

  async #step(): Promise<void> {
    const size = { rowCount: this.#drafters.length, tokenCount: this.#drafters.length };
    this.stepCount++;
    this.#drafting.propose(this.#drafters, size, 0);
    const segments = this.#drafters.map(({ sequence }) => sequence.nextSegment(1));
    const rowCount = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const ms = this.machine.stepMs(rowCount);
    this.nowMs += ms;
    const advanced = this.#drafters.map((drafter, segment): AdvancedSequence => {
      const advance = drafter.sequence.advance(this.#output(), segment);
      this.tokenCount += advance.chosen.length;
      return { drafter, segment, advance };
    });
    this.#drafting.costs.ofSteps.learn(rowCount, ms);
    this.#drafting.learn(advanced);
    await this.#drafting.guess(advanced, size);
  }

  /** What is chosen after a sequence's tokens follows from how many there are. */
  #output(): StepOutput {
    const choose = (segment: number): number => this.#truthAt(this.#drafters[segment]!.sequence.tokens.length);
    return {
      best: (segment) => ({ id: choose(segment), logprob: -1 }),
      logits: unread,
      hidden: unread,
      times: { buildMs: 0, computeMs: 0 },
    };
  }

  #scores({ from, head }: Label): Float32Array {
    const scores = new Float32Array(VOCAB_SIZE);
    const truth = this.#truthAt(this.#lengthOf(from) + head!);
    const chance = this.machine.chance(head!);
    const drawn = this.#random.next();
    const rankOfTruth = drawn < chance ? 0 : drawn < chance * SECOND_CHANCE ? 1 : 3;
    for (let rank = 0; rank < 3; rank++) scores[(truth + rank - rankOfTruth + VOCAB_SIZE) % VOCAB_SIZE] = 10 - rank;
    return scores;
  }

  #truthAt(position: number): number {
    return this.machine.truthAt?.(position) ?? (position * 5) % VOCAB_SIZE;
  }

  #lengthOf({ segment }: DraftRow): number {
    return this.#drafters[segment]!.sequence.tokens.length;
  }
}

function unread(): never {
  throw new Error('nobody reads it');
}

function makeDrafter({ heads, lookbackPlaces = 0 }: DraftingMachine): SequenceDrafter {
  const watermark = { gamma: 0.5, delta: 2 };
  const scratch = new SamplingScratch(VOCAB_SIZE);
  const sequence = new Sequence({
    history: new TokenHistory([1]),
    span: { firstCell: 0, length: MOST_TOKENS },
    adapters: [],
    sampler: new Sampler(GREEDY, { vocabSize: VOCAB_SIZE, watermark, scratch }),
    chosenBy: 'arg-max',
    alternatives: 0,
    promptLogprobs: false,
    maxNewTokens: MOST_TOKENS,
  });
  return new SequenceDrafter({
    sequence,
    heads,
    headPlaces: heads.headCount,
    lookbackPlaces,
    key: 'one',
    adapter: 'base',
  });
}
