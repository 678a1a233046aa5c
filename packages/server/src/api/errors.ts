/** Errors as bodies: LoRAX's form on its own routes, OpenAI's on `/v1`. Knows nothing about how they came about. */

import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { z } from '@hono/zod-openapi';
import { LoraxError } from '../base/errors.ts';
import type { ApiLog } from './context.ts';
import type { NativeError } from './schemas/native.ts';
import type { OpenAiError } from './schemas/openai.ts';
import { wireNames } from './wire-names.ts';

/** Anything that is not a `LoraxError` is a bug of ours; its text stays in the log. */
export function asLoraxError(error: unknown): LoraxError {
  return error instanceof LoraxError ? error : new LoraxError('INTERNAL', {}, { cause: error });
}

export function nativeError(error: LoraxError): z.infer<typeof NativeError> {
  return { error: error.message, error_type: error.spec.errorType, ...extra(error) };
}

export function openaiError(error: LoraxError): z.infer<typeof OpenAiError> {
  const { field } = error.params;
  return {
    error: {
      message: error.message,
      type: error.spec.openaiType,
      param: typeof field === 'string' ? field : null,
      code: error.code === 'ADAPTER_NOT_FOUND' ? 'model_not_found' : error.spec.errorType,
      ...extra(error),
    },
  };
}

function extra({ details }: LoraxError): { details?: unknown } {
  return details === undefined ? {} : { details: wireNames(details) };
}

/** The response for an error that no byte was sent before. */
export function errorResponse(c: Context, thrown: unknown, log: ApiLog): Response {
  if (c.req.raw.signal.aborted) return c.body(null, 499 as ContentfulStatusCode); // nobody reads it
  const error = asLoraxError(thrown);
  logError(error, log, c.req.path);
  const body = c.req.path.startsWith('/v1/') ? openaiError(error) : nativeError(error);
  return c.json(body, error.spec.status as ContentfulStatusCode);
}

export function logError(error: LoraxError, log: ApiLog, path: string): void {
  if (error.spec.status >= 500) log.error({ err: error, path }, 'request failed');
  else log.debug({ path, code: error.code }, error.message);
}
