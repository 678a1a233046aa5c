/** Small heads over made-up hidden states, for tests of the loop: everything but a model. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Projection } from '../../backend/backend.ts';
import { GgmlBackend } from '../../backend/ggml/ggml-backend.ts';
import { openHeadTrainer } from '../../backend/ggml/head-trainer.ts';
import type { HeadTrainer } from '../../backend/training.ts';
import type { Progress } from '../../telemetry/progress.ts';
import { Random } from '../../testing/random.ts';
import { ownFloats, type OwnedTensor } from '../../weights/owned-tensor.ts';
import type { HiddenStates } from '../hidden-states.ts';
import { labelSample, type Sample } from '../sample.ts';

const DEVICE = { path: undefined, threads: 1, precision: 'high' } as const;
const HIDDEN_SIZE = 8;
const VOCAB_SIZE = 12;

const HEAD_COUNT = 2;

export const silent: Progress = { start: () => ({ advance: () => undefined, done: () => undefined }) };

/** A hidden state that tells its token and nothing else; counts how often it is asked. */
export class TokenStates implements HiddenStates {
  readonly hiddenSize = HIDDEN_SIZE;
  callCount = 0;
  readonly #table = new Random(11).normals(VOCAB_SIZE * HIDDEN_SIZE, 0, 1);

  async of(tokens: readonly number[], signal: AbortSignal): Promise<Float32Array> {
    signal.throwIfAborted();
    this.callCount++;
    const states = new Float32Array(tokens.length * HIDDEN_SIZE);
    for (const [row, token] of tokens.entries()) {
      states.set(this.#table.subarray(token * HIDDEN_SIZE, (token + 1) * HIDDEN_SIZE), row * HIDDEN_SIZE);
    }
    return states;
  }
}

/** Texts in which every token follows from the one before it, so that heads can learn them. */
export function countingSamples(count: number): Sample[] {
  const random = new Random(12);
  return Array.from({ length: count }, () => {
    const first = random.integer(VOCAB_SIZE);
    const tokens = Array.from({ length: 6 + random.integer(6) }, (_, i) => (first + i) % VOCAB_SIZE);
    const isLearnt = tokens.map((_, i) => i >= 2);
    return labelSample(tokens, isLearnt, HEAD_COUNT);
  });
}

export interface Opened {
  readonly folder: string;
  /** The weight is used where it lies, so somebody has to hold it. */
  readonly lmHead: OwnedTensor;
  /** A new one, as a new process would open it; disposed with the rest. */
  openTrainer(): Promise<HeadTrainer>;
  dispose(): void;
}

export async function openTrainingSetting(): Promise<Opened> {
  const folder = mkdtempSync(join(tmpdir(), 'lorax-training-'));
  const backend = new GgmlBackend(DEVICE);
  const values = new Random(13).normals(VOCAB_SIZE * HIDDEN_SIZE, 0, 0.4);
  const lmHead = ownFloats('lm_head.weight', [VOCAB_SIZE, HIDDEN_SIZE], values);
  const weight = await backend.loadWeight(lmHead, { dtype: undefined, merged: undefined });
  const outputLayer: Projection = {
    ...{ kind: 'linear', path: 'lm_head', weight, bias: undefined },
    ...{ inFeatures: HIDDEN_SIZE, outFeatures: VOCAB_SIZE },
  };
  const trainers: HeadTrainer[] = [];
  return {
    folder,
    lmHead,
    openTrainer: async () => {
      const trainer = await openHeadTrainer(DEVICE, {
        ...{ headCount: HEAD_COUNT, layerCount: 1, ownOutput: false, outputLayer },
      });
      trainers.push(trainer);
      return trainer;
    },
    dispose: () => {
      for (const trainer of trainers) trainer.dispose();
      backend.dispose();
      rmSync(folder, { recursive: true });
    },
  };
}
