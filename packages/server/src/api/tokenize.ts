/** `/tokenize`: the tokens of a text with their places in it. */

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { readBody } from './body.ts';
import type { ApiContext } from './context.ts';
import { TokenizeRequest, type TokenizeResponse } from './schemas/tokenize.ts';

export function addTokenizeRoute(app: OpenAPIHono, { serving }: ApiContext): void {
  app.post('/tokenize', async (c) => {
    const body = await readBody(c, TokenizeRequest, serving.limits.maxBodyBytes);
    const spans = await serving.tokenizer.spans(body.inputs, body.add_special_tokens ?? true, c.req.raw.signal);
    const tokens: z.infer<typeof TokenizeResponse> = spans.map(({ id, piece, start, stop }) => ({
      id,
      text: piece,
      start,
      stop,
    }));
    return c.json(tokens);
  });
}
