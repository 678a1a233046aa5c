/** Reads reference vectors as transformers and PEFT computed them. Knows the files' form, not what they are compared with. */

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSafetensors } from '../weights/safetensors.ts';
import type { TensorView } from '../weights/tensor-view.ts';
import { readFloats } from '../weights/values.ts';

/** One prompt with the reference's answer. */
export interface PromptVector {
  readonly prompt: readonly number[];
  /** A row `[vocab]` for every token of the prompt. */
  readonly logits: readonly Float32Array[];
  readonly greedy: readonly number[];
  /** Distance between the two best logits at each greedy token. */
  readonly margin: readonly number[];
}

/** The vectors of a model's or an adapter's folder. */
export function readVectors(folder: string): PromptVector[] {
  const entries = readJson<Omit<PromptVector, 'logits'>[]>(join(folder, 'expected.json'));
  const logits = readLogits(
    join(folder, 'expected.safetensors'),
    entries.map(({ prompt }) => prompt.length),
  );
  return entries.map((entry, i) => ({ ...entry, logits: logits[i]! }));
}

/** A prompt of a model with what draft heads guess after each of its tokens. */
export interface HeadsVector {
  readonly prompt: readonly number[];
  /** A row `[vocab]` for every token of the prompt. */
  readonly logits: readonly Float32Array[];
  /** For every token one after the other its heads' rows `[vocab]`. */
  readonly guesses: readonly Float32Array[];
}

/** The vectors of an adapter with draft heads, for the prompts of its model. */
export function readHeadsVectors(folder: string, modelFolder: string): HeadsVector[] {
  const prompts = readJson<Pick<PromptVector, 'prompt'>[]>(join(modelFolder, 'expected.json'));
  const path = join(folder, 'expected.safetensors');
  const lengths = prompts.map(({ prompt }) => prompt.length);
  const [logits, guesses] = [readLogits(path, lengths), readLogits(path, lengths, 'medusa')];
  return prompts.map(({ prompt }, i) => ({ prompt, logits: logits[i]!, guesses: guesses[i]! }));
}

export interface MixedRow {
  /** `__base__`, or the letter under which the reference loaded an adapter. */
  readonly adapter: string;
  readonly ids: readonly number[];
  /** A row `[vocab]` for every token. */
  readonly logits: readonly Float32Array[];
}

/** Prompts with different adapters that the reference computed one by one. */
export function readMixedBatch(folder: string): MixedRow[] {
  const rows = readJson<Omit<MixedRow, 'logits'>[]>(join(folder, 'rows.json'));
  const logits = readLogits(
    join(folder, 'expected.safetensors'),
    rows.map(({ ids }) => ids.length),
  );
  return rows.map((row, i) => ({ ...row, logits: logits[i]! }));
}

export interface TokenizerVectors {
  readonly encodings: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_no_special: readonly number[];
    readonly decoded: string;
    readonly decoded_with_special: string;
  }[];
  /** Only where the tokenizer has a chat template. */
  readonly chats?: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[];
    readonly rendered: string;
  }[];
}

export function readTokenizerVectors(folder: string): TokenizerVectors {
  return readJson(join(folder, 'expected.json'));
}

/** Tensors `logits.<i>` `[lengths[i], ..., vocab]`, row by row. */
function readLogits(path: string, lengths: readonly number[], stem = 'logits'): Float32Array[][] {
  const file = openSafetensors(path);
  try {
    return lengths.map((length, i) => {
      const view = file.get(`${stem}.${i}`);
      if (view?.shape[0] !== length) {
        throw new Error(`${basename(path)} has no ${stem}.${i} of ${length} rows`);
      }
      return rowsOf(view);
    });
  } finally {
    file.dispose();
  }
}

function rowsOf(view: TensorView): Float32Array[] {
  const width = view.shape.at(-1) ?? 0;
  const values = readFloats(view);
  return Array.from({ length: values.length / width }, (_, row) => values.subarray(row * width, (row + 1) * width));
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}
