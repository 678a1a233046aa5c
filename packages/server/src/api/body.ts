/** Reads a request's JSON body under limits of size and nesting, and checks it by a schema. Knows no route. */

import type { Context } from 'hono';
import type { z } from '@hono/zod-openapi';
import { LoraxError, invalidField } from '../base/errors.ts';
import { explain } from './schemas/explain.ts';

/** Deeper JSON has no use here, and what walks it recursively (cloning to a worker, templates) has a finite stack. */
const MAX_DEPTH = 64;

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** Errors: CONTENT_TYPE, BODY_TOO_LARGE, BODY_MALFORMED, VALIDATION. */
export async function readBody<T extends z.ZodType>(c: Context, schema: T, limitBytes: number): Promise<z.output<T>> {
  if (!JSON_TYPE.test(c.req.header('content-type') ?? '')) throw new LoraxError('CONTENT_TYPE');
  const value = parseJson(await readBytes(c, limitBytes));
  const result = schema.safeParse(value);
  if (!result.success) throw explain(result.error);
  return result.data;
}

async function readBytes(c: Context, limitBytes: number): Promise<Uint8Array> {
  if (Number(c.req.header('content-length') ?? 0) > limitBytes) throw new LoraxError('BODY_TOO_LARGE', { limitBytes });
  const body: ReadableStream<Uint8Array> | null = c.req.raw.body;
  const reader = body?.getReader();
  const chunks: Uint8Array[] = [];
  let byteCount = 0;
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) break;
    byteCount += value.length;
    if (byteCount > limitBytes) {
      reader.cancel().catch(() => undefined); // a sender that goes away meanwhile gets no answer anyway
      throw new LoraxError('BODY_TOO_LARGE', { limitBytes });
    }
    chunks.push(value);
  }
  return Buffer.concat(chunks);
}

function parseJson(bytes: Uint8Array): unknown {
  const text = decode(bytes);
  if (depthOf(text) > MAX_DEPTH) throw invalidField('body', `must not be nested deeper than ${MAX_DEPTH} levels`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LoraxError('BODY_MALFORMED', {}, { cause });
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new LoraxError('BODY_MALFORMED', {}, { cause });
  }
}

/** Nesting of brackets outside strings; exact for valid JSON, and harmless otherwise. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (inString && char === '\\') at++;
    else if (char === '"') inString = !inString;
    else if (inString) continue;
    else if (char === '[' || char === '{') deepest = Math.max(deepest, ++depth);
    else if (char === ']' || char === '}') depth--;
  }
  return deepest;
}
