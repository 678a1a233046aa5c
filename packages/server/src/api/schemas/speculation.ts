/** The field that says how tokens are guessed ahead: the same on native and OpenAI routes. */

import { z } from '@hono/zod-openapi';
import { MAX_SPECULATION_TOKENS, SPECULATION_MODES } from '../../scheduler/speculation.ts';

const Speculation = z
  .object({
    mode: z.enum(SPECULATION_MODES).nullish().openapi({
      description:
        'medusa: by Medusa heads alone; ngram: by looking back in the text alone; off: not at all. Absent or auto: by both where there are heads, else as the server does.',
    }),
    tokens: z.int().min(1).max(MAX_SPECULATION_TOKENS).nullish().openapi({
      description: 'Most tokens guessed in a row; those of heads as far as they go. Absent: as the server does.',
    }),
  })
  .openapi('Speculation', {
    description: 'How tokens are guessed ahead. It changes the time an answer takes, not the answer.',
  });

export const speculationFields = { speculation: Speculation.nullish() };

export type SpeculationField = z.output<typeof Speculation>;
