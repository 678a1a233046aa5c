/** Runs steps of one model: sequences' segments in, their advances out. Never touches queues or requests. */

import type { Backend, StepOptions } from '../backend/backend.ts';
import type { StepTimes } from '../backend/step.ts';
import type { Decoder } from '../models/decoder.ts';
import type { KvCache } from './kv-cache.ts';
import type { Sequence, SequenceAdvance } from './sequence.ts';

/** A sequence's share of a step. */
export interface StepShare<S extends Sequence = Sequence> {
  readonly sequence: S;
  /** Tokens of its prompt that it may compute. */
  readonly tokenCount: number;
}

export interface StepResult {
  /** Of all sequences, drafts included. */
  readonly rowCount: number;
  /** In the order of the shares: what each sequence gained, or why its row failed. */
  readonly advances: readonly (SequenceAdvance | Error)[];
  readonly times: StepTimes;
  readonly samplingMs: number;
}

/** What a runner asks of a backend. */
type StepBackend = Pick<Backend, 'runStep'>;

export class Runner {
  readonly #backend: StepBackend;
  readonly #decoder: Decoder;
  readonly #kv: KvCache;

  constructor(backend: StepBackend, decoder: Decoder, kv: KvCache) {
    this.#backend = backend;
    this.#decoder = decoder;
    this.#kv = kv;
  }

  /** Rejects where the whole step failed; a single row's failure is its own. */
  async step(shares: readonly StepShare[], { keepHidden }: Pick<StepOptions, 'keepHidden'>): Promise<StepResult> {
    const segments = shares.map(({ sequence, tokenCount }) => sequence.nextSegment(tokenCount));
    const reduce = shares.some(({ sequence }) => sequence.wantsReduction);
    const output = await this.#backend.runStep(this.#decoder, this.#kv.store, segments, { reduce, keepHidden });
    const computed = performance.now();
    const advances = shares.map(({ sequence }, segment) => attempt(() => sequence.advance(output, segment)));
    this.#kv.store.moveCells(advances.flatMap((advance) => (advance instanceof Error ? [] : advance.cellMoves)));
    const rowCount = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
    return { rowCount, advances, times: output.times, samplingMs: performance.now() - computed };
  }
}

function attempt<T>(action: () => T): T | Error {
  try {
    return action();
  } catch (error) {
    return error as Error;
  }
}
