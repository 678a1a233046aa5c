/** The base model as head training needs it: its tokenizer, its hidden states, its output layer. Made elsewhere. */

import type { HeadsOptions, HeadTrainer } from '../backend/training.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { HiddenStates } from './hidden-states.ts';

export interface TrainingBase {
  readonly modelId: string;
  /** What its matrices are held as. */
  readonly dtype: Dtype;
  /** The adapter's own where it brings one. */
  readonly tokenizer: Tokenizer;
  /** With the adapter applied. */
  readonly hidden: HiddenStates;
  readonly maxPositions: number;
  readonly adapter: TrainingAdapter | undefined;
  openTrainer(heads: Omit<HeadsOptions, 'outputLayer'>): Promise<HeadTrainer>;
  dispose(): Promise<void>;
}

/** What the heads are trained over, and used together with. */
export interface TrainingAdapter {
  readonly id: string;
  /** Identity by content. */
  readonly generation: string;
  /** Its configuration, weights and tokenizer. */
  readonly files: readonly string[];
  /** It changes the output layer, which heads of version 2 guess through. */
  readonly changesOutput: boolean;
}
