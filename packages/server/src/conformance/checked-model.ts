/** What is known of a model while it is checked: the session that has it, its adapters, and its answers so far. */

import type { AdapterSlot } from '../backend/adapters.ts';
import type { WeightedSlot } from '../backend/step.ts';
import type { ModelCase } from './cases.ts';
import type { Answer } from './comparison.ts';
import type { EngineSession, SessionOptions } from './engine-session.ts';
import type { PromptVector } from './vectors.ts';

/** A prompt to the base or to an adapter, and what the engine answered when nothing else was in the batch. */
export interface AnsweredPrompt {
  /** `llama/all_r8 prompt 2`. */
  readonly name: string;
  /** Its place among the prompts of its folder. */
  readonly index: number;
  readonly vector: PromptVector;
  readonly adapters: readonly WeightedSlot[];
  readonly alone: Answer;
}

export interface CheckedModel {
  readonly model: ModelCase;
  readonly options: SessionOptions;
  readonly session: EngineSession;
  readonly adapters: Map<string, AdapterSlot>;
  readonly answered: AnsweredPrompt[];
}
