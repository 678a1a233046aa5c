/**
 * Penalties on tokens that already occurred.
 *
 * Frequency and presence follow OpenAI's definition: generated tokens only, `s - f * count - p * [count > 0]`. LoRAX
 * divides the count by the length of the batch's padded history, so that the same request is penalised differently
 * beside a longer neighbour, and counts padding as token 0; neither is kept.
 */

import type { LogitsProcessor } from './logits-processor.ts';

/** Divides positive and multiplies negative scores by `penalty`, once per distinct token of prompt and generation (CTRL). */
export function repetitionPenalty(penalty: number): LogitsProcessor {
  return {
    apply(logits, history) {
      for (const id of history.counts.keys()) {
        const score = logits[id];
        // An input embedding can have more rows than the output has scores.
        if (score !== undefined) logits[id] = score < 0 ? score * penalty : score / penalty;
      }
    },
  };
}

/** Subtracts `frequency` per occurrence and `presence` once, for tokens generated so far. */
export function frequencyPresencePenalty(frequency: number, presence: number): LogitsProcessor {
  return {
    apply(logits, history) {
      for (const [id, count] of history.generatedCounts) {
        const score = logits[id];
        if (score !== undefined) logits[id] = score - frequency * count - presence;
      }
    },
  };
}
