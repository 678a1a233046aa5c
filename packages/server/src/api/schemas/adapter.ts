/** The fields that say which adapter answers: one, or several merged. The same on native and OpenAI routes. */

import { z } from '@hono/zod-openapi';
import { MAJORITY_SIGN_METHODS, MERGE_STRATEGIES } from '../../base/adapter-reference.ts';
import { adapterId, adapterSource, list, MAX_ADAPTER_ID_LEN } from './fields.ts';

/** Each member costs a load and a place in memory. */
const MAX_MERGE_MEMBERS = 16;

/** Far beyond any use; products with a weight near the end of float32's range would not be finite. */
const MAX_MERGE_WEIGHT = 1000;

/** One of these words, in any case. */
function word<T extends string>(words: readonly T[], fallback: T) {
  const description = `One of ${words.join(', ')}, in any case. Absent: ${fallback}.`;
  return z
    .string()
    .transform((text) => text.toLowerCase())
    .pipe(z.enum(words))
    .openapi({ type: 'string', description });
}

const MergedAdapters = z
  .object({
    ids: list(adapterId, { type: 'string', maxLength: MAX_ADAPTER_ID_LEN })
      .refine((ids) => ids.length > 0, { error: 'must not be empty' })
      .refine((ids) => ids.length <= MAX_MERGE_MEMBERS, { error: `must have at most ${MAX_MERGE_MEMBERS} elements` })
      .openapi({ description: 'One id alone is that adapter as it is, whatever else stands here.' }),
    weights: list(z.number().min(-MAX_MERGE_WEIGHT).max(MAX_MERGE_WEIGHT), { type: 'number' })
      .nullish()
      .openapi({ description: 'One for each id. Absent: all 1.' }),
    sources: list(adapterSource, { type: 'string' })
      .nullish()
      .openapi({ description: 'One for each id. Absent: `adapter_source` for all.' }),
    merge_strategy: word(MERGE_STRATEGIES, 'linear').nullish(),
    density: z.number().min(0).max(1).nullish().openapi({
      description: 'Share of the values that pruning keeps; needed by, and only used by, strategies that prune.',
    }),
    majority_sign_method: word(MAJORITY_SIGN_METHODS, 'total').nullish(),
  })
  .openapi('MergedAdapters');

export const adapterFields = {
  adapter_id: adapterId.nullish(),
  adapter_source: adapterSource.nullish(),
  merged_adapters: MergedAdapters.nullish(),
  api_token: z.string().nullish(),
};

export type MergedAdaptersField = z.output<typeof MergedAdapters>;
