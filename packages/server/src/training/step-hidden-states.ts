/**
 * Hidden states from the engine's own steps: one sequence at a time, in chunks of a fixed size, so that the numbers
 * depend on the tokens alone. Knows no labels.
 */

import { assert } from '../base/assert.ts';
import type { Backend, Forward } from '../backend/backend.ts';
import type { KvStore } from '../backend/kv.ts';
import type { WeightedSlot } from '../backend/step.ts';
import type { HiddenStates } from './hidden-states.ts';

/** Enough rows for the products to be bound by arithmetic, few enough for their memory to stay small. */
const CHUNK_LEN = 256;

export interface StepHiddenStatesOptions {
  readonly backend: Pick<Backend, 'runStep'>;
  readonly forward: Forward;
  /** Nobody else uses it meanwhile. */
  readonly kv: KvStore;
  readonly adapters: readonly WeightedSlot[];
  readonly hiddenSize: number;
}

export class StepHiddenStates implements HiddenStates {
  readonly hiddenSize: number;
  readonly #options: StepHiddenStatesOptions;
  readonly #forward: Forward;

  constructor(options: StepHiddenStatesOptions) {
    this.hiddenSize = options.hiddenSize;
    this.#options = options;
    const { forward } = options;
    // Nobody reads the logits of these steps, and with a large vocabulary they are a good part of the work.
    this.#forward = { hidden: (graph) => forward.hidden(graph), logits: (_, hidden) => hidden };
  }

  async of(tokens: readonly number[], signal: AbortSignal): Promise<Float32Array> {
    const { kv } = this.#options;
    assert(tokens.length <= kv.shape.cellCount, 'the cells hold the whole sequence');
    const hidden = new Float32Array(tokens.length * this.hiddenSize);
    for (let position = 0; position < tokens.length; position += CHUNK_LEN) {
      signal.throwIfAborted();
      const chunk = tokens.slice(position, position + CHUNK_LEN);
      await this.#compute(chunk, position, hidden);
    }
    return hidden;
  }

  async #compute(tokens: readonly number[], position: number, hidden: Float32Array): Promise<void> {
    const { backend, kv, adapters } = this.#options;
    const segment = { tokens, position, firstCell: 0, adapters, outputCount: tokens.length };
    const output = await backend.runStep(this.#forward, kv, [segment], { reduce: false, keepHidden: true });
    for (let row = 0; row < tokens.length; row++) hidden.set(output.hidden(0, row), (position + row) * this.hiddenSize);
  }
}
