/**
 * Reads a set of reference vectors: a folder of `models/`, `adapters/` and `mixed_batch/` as transformers and PEFT computed
 * them. Knows the form of the files, not what they are compared with.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '../weights/safetensors.ts';
import { readFloats } from '../weights/values.ts';

/** One prompt with the reference's answer. */
export interface PromptVector {
  readonly prompt: readonly number[];
  /** `[prompt length, vocab]`. */
  readonly logits: Float32Array;
  readonly greedy: readonly number[];
  /** Distance between the two best logits at each greedy token. */
  readonly margin: readonly number[];
}

interface GreedyEntry {
  readonly prompt: readonly number[];
  readonly greedy: readonly number[];
  readonly margin: readonly number[];
}

/** The vectors of a model's or an adapter's folder. */
export function readVectors(folder: string): PromptVector[] {
  const entries = readJson<GreedyEntry[]>(join(folder, 'expected.json'));
  const logits = readLogits(join(folder, 'expected.safetensors'), entries.length);
  return entries.map((entry, i) => ({ ...entry, logits: logits[i]! }));
}

export interface MixedRow {
  /** `__base__`, or the letter under which the merges name an adapter. */
  readonly adapter: string;
  readonly ids: readonly number[];
  readonly logits: Float32Array;
}

/** Rows with different adapters that the reference computed one by one. */
export function readMixedBatch(root: string): MixedRow[] {
  const folder = join(root, 'mixed_batch');
  const rows = readJson<{ adapter: string; ids: number[] }[]>(join(folder, 'rows.json'));
  const logits = readLogits(join(folder, 'expected.safetensors'), rows.length);
  return rows.map((row, i) => ({ ...row, logits: logits[i]! }));
}

/** Names of the folders below `folder`, none where it does not exist. */
export function listFolders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

function readLogits(path: string, count: number): Float32Array[] {
  const file = openSafetensors(path);
  try {
    return Array.from({ length: count }, (_, i) => {
      const view = file.get(`logits.${i}`);
      if (view === undefined) throw new Error(`${path} has no logits.${i}`);
      return readFloats(view);
    });
  } finally {
    file.dispose();
  }
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}
