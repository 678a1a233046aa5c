/** Request fields that several routes share, with LoRAX's ranges. Every optional field also takes null, which its client sends. */

import { z } from '@hono/zod-openapi';

const U32_MAX = 0xffff_ffff;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Longer ids are no path or repository name, and would not fit a response header. */
export const MAX_ADAPTER_ID_LEN = 1024;

/** A positive number of tokens, sequences and the like. */
export const positiveInt = z.int().min(1).max(U32_MAX);
export const nonNegativeInt = z.int().min(0).max(U32_MAX);

/** JSON Schema, for the document where zod's own translation does not serve. */
type JsonSchema = NonNullable<NonNullable<Parameters<z.ZodUnknown['openapi']>[1]>['items']>;

/**
 * A list that is given up at its first wrong element. Zod collects an issue for every element and every branch of a union:
 * a body of 2 MB full of wrong elements would hold the event loop for 2 s and take 1 GB.
 */
export function list<T extends z.ZodType>(element: T, items: JsonSchema) {
  return z
    .array(z.unknown())
    .transform((values, context): z.output<T>[] => {
      const parsed: z.output<T>[] = [];
      for (const [index, value] of values.entries()) {
        const result = element.safeParse(value);
        const [issue] = result.error?.issues ?? [];
        if (issue !== undefined) {
          context.issues.push({ ...issue, input: value, path: [index, ...issue.path] } as z.core.$ZodRawIssue);
          return z.NEVER;
        }
        parsed.push(result.data as z.output<T>);
      }
      return parsed;
    })
    .openapi({ items });
}

/** The matcher keeps a node for each character. */
const MAX_STOP_LEN = 1024;

const stopString = z.string().min(1).max(MAX_STOP_LEN);
export const stopList = list(stopString, { type: 'string', minLength: 1, maxLength: MAX_STOP_LEN });
export const stopStringOrList = z.union([stopString, stopList], {
  error: `must be a string of 1 to ${MAX_STOP_LEN} characters, or a list of such strings`,
});

const isU64 = (text: string): boolean => /^\d{1,20}$/.test(text) && BigInt(text) <= U64_MAX;

const SEED_RANGE = 'must be an integer from 0 to 2^53 - 1, or a decimal string up to 2^64 - 1';

const seed = z
  .union([z.int().min(0).max(Number.MAX_SAFE_INTEGER), z.string().refine(isU64, { error: SEED_RANGE })], {
    error: SEED_RANGE,
  })
  .openapi({ description: 'Beyond 2^53 - 1 JSON numbers lose digits: send such a seed as a decimal string.' });

// JSON Schema's patterns have no flags, so these two are checks of ours and described in words.
const isPrintable = (text: string): boolean => !/\p{Cc}/u.test(text);
const isSource = (text: string): boolean => /^(?:hub|local|s3|pbase)$/i.test(text);

/** Letters outside ASCII are allowed: headers.ts escapes them. */
export const adapterId = z
  .string()
  .max(MAX_ADAPTER_ID_LEN)
  .refine(isPrintable, { error: 'must not contain control characters' });

export const adapterSource = z
  .string()
  .refine(isSource, { error: 'must be one of hub, local, s3, pbase' })
  .openapi({ description: 'hub, local, s3 or pbase, in any case. Absent: as the server was started.' });

/** How tokens are chosen: the same on native and OpenAI routes. */
export const samplingFields = {
  temperature: z.number().min(0).nullish(),
  top_k: positiveInt.nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  typical_p: z.number().gt(0).lt(1).nullish(),
  repetition_penalty: z.number().gt(0).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  seed: seed.nullish(),
  ignore_eos_token: z.boolean().nullish(),
};

/** A field of a later version: accepted where it asks for nothing, refused by name otherwise. */
export function unsupported(asksForNothing: (value: unknown) => boolean = () => false) {
  return z
    .unknown()
    .refine((value) => value === null || asksForNothing(value), { error: 'is not supported yet' })
    .optional();
}

export function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

export function isTextFormat(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'text';
}
