/**
 * A record as tokens with what each head learns from it. Head k (from 0) at position t guesses the token at t + 2 + k:
 * the base model itself guesses t + 1. Knows no file and no device.
 */

import { IGNORED_LABEL } from '../backend/training.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { LearntText } from './learnt-text.ts';

export interface Sample {
  readonly tokens: readonly number[];
  /** Positions at which some head has something to learn, rising. */
  readonly rows: Int32Array;
  /** By head, for each of these positions: the token to guess, or `IGNORED_LABEL`. */
  readonly labels: readonly Int32Array[];
}

/** Tokens beyond `maxLen` are cut off. */
export async function makeSample(
  tokenizer: Tokenizer,
  { text, addSpecialTokens, learnt }: LearntText,
  { headCount, maxLen }: { readonly headCount: number; readonly maxLen: number },
  signal: AbortSignal,
): Promise<Sample> {
  const spans = (await tokenizer.spans(text, addSpecialTokens, signal)).slice(0, maxLen);
  const isLearnt = spans.map(({ start, stop }) =>
    learnt.some((stretch) => stretch.start <= start && stop <= stretch.stop && start < stop),
  );
  return labelSample(
    spans.map(({ id }) => id),
    isLearnt,
    headCount,
  );
}

export function labelSample(tokens: readonly number[], isLearnt: readonly boolean[], headCount: number): Sample {
  const label = (position: number, head: number): number => {
    const target = position + 2 + head;
    return isLearnt[target] ? tokens[target]! : IGNORED_LABEL;
  };
  const heads = Array.from({ length: headCount }, (_, head) => head);
  const positions = tokens.map((_, position) => position);
  const rows = positions.filter((position) => heads.some((head) => label(position, head) !== IGNORED_LABEL));
  const labels = heads.map((head) => Int32Array.from(rows, (position) => label(position, head)));
  return { tokens, rows: Int32Array.from(rows), labels };
}
