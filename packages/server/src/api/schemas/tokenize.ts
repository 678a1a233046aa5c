/** Bodies of `/tokenize`, in and out. */

import { z } from '@hono/zod-openapi';
import { nonNegativeInt } from './fields.ts';

export const TokenizeRequest = z
  .object({
    inputs: z.string(),
    add_special_tokens: z.boolean().nullish().openapi({ description: 'Absent: true.' }),
  })
  .openapi('TokenizeRequest');

export const TokenizeResponse = z
  .array(
    z.object({
      id: nonNegativeInt,
      text: z.string().openapi({ description: "The vocabulary's own spelling." }),
      start: nonNegativeInt,
      stop: nonNegativeInt,
    }),
  )
  .openapi('TokenizeResponse');
