/** What PEFT merged and how, as a `merge.json` says it, in this project's words. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MajoritySignMethod, MergeRecipe, MergeStrategy } from '../base/adapter-reference.ts';

interface MergeFile {
  /** Letters under which the reference loaded the adapters. */
  readonly adapters: readonly string[];
  readonly weights: readonly number[];
  readonly combination_type: string;
  readonly density?: number;
  readonly majority_sign_method?: MajoritySignMethod;
}

export interface MergeVector {
  /** Names in the set, `llama/all_r8`. */
  readonly adapters: readonly string[];
  readonly weights: readonly number[];
  readonly recipe: MergeRecipe;
}

/** The adapters that a set's merges and mixed batch use, by the letters that the reference gave them. */
export const ADAPTER_LETTERS: Readonly<Record<string, string>> = {
  a: 'llama/all_r8',
  b: 'llama/all_r8_b',
  c: 'llama/qv_r4',
};

/** PEFT's combination types that a reference can be compared with: those of DARE draw their own random numbers. */
const STRATEGIES: Readonly<Record<string, MergeStrategy>> = {
  cat: 'cat',
  svd: 'svd',
  linear: 'peft_linear',
  ties: 'peft_ties',
  magnitude_prune: 'magnitude_prune',
};

/** Why a merge cannot be compared; undefined where it can. */
export function incomparableMerge(folder: string): string | undefined {
  const { combination_type: type } = readMergeFile(folder);
  return type in STRATEGIES ? undefined : `the combination type ${type} is not compared`;
}

export function readMerge(folder: string): MergeVector {
  const { adapters, weights, combination_type, density, majority_sign_method } = readMergeFile(folder);
  const strategy = STRATEGIES[combination_type];
  if (strategy === undefined) throw new Error(`merge.json has the combination type ${combination_type}`);
  return {
    adapters: adapters.map((letter) => ADAPTER_LETTERS[letter] ?? letter),
    weights,
    recipe: { strategy, density, majoritySign: majority_sign_method ?? 'total' },
  };
}

function readMergeFile(folder: string): MergeFile {
  return JSON.parse(readFileSync(join(folder, 'merge.json'), 'utf8')) as MergeFile;
}
