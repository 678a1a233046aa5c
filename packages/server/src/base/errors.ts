/**
 * The one table of errors that a caller can meet: code, HTTP status, LoRAX `error_type`, OpenAI `type` and message.
 * Knows nothing about HTTP frameworks; `docs/reference/errors.md` is kept equal to this table by a test.
 */

export interface ErrorSpec {
  readonly status: number;
  /** `error_type` in LoRAX's error body; the Python client chooses its exception by it. */
  readonly errorType: string;
  /** `error.type` in OpenAI's error body. */
  readonly openaiType: string;
  /** `{name}` is replaced by the parameter of that name. */
  readonly message: string;
}

const spec = (status: number, errorType: string, openaiType: string, message: string): ErrorSpec => ({
  status,
  errorType,
  openaiType,
  message,
});

const INVALID = 'invalid_request_error';

export const ERRORS = {
  VALIDATION: spec(422, 'validation', INVALID, '`{field}` {reason}'),
  REQUEST_MALFORMED: spec(400, 'validation', INVALID, 'the request line or a header is not valid HTTP'),
  BODY_MALFORMED: spec(400, 'validation', INVALID, 'the request body is not valid JSON'),
  BODY_TOO_LARGE: spec(413, 'validation', INVALID, 'the request body is larger than {limitBytes} bytes'),
  CONTENT_TYPE: spec(415, 'validation', INVALID, 'the request body must be sent as application/json'),
  ROUTE_NOT_FOUND: spec(404, 'not_found', INVALID, 'no route {method} {path}'),
  METHOD_NOT_ALLOWED: spec(405, 'not_found', INVALID, '{path} does not answer {method}'),
  TEMPLATE: spec(422, 'template_error', INVALID, 'the chat template could not be rendered: {reason}'),
  ADAPTER_NOT_FOUND: spec(
    404,
    'adapter_not_found',
    INVALID,
    'adapter `{adapterId}` was not found in source `{source}`',
  ),
  ADAPTER_FORBIDDEN: spec(403, 'adapter_forbidden', 'permission_error', 'adapter `{adapterId}` is not accessible'),
  ADAPTER_INVALID: spec(422, 'adapter_invalid', INVALID, 'adapter `{adapterId}` cannot be used: {reason}'),
  ADAPTER_TOO_LARGE: spec(
    422,
    'adapter_invalid',
    INVALID,
    'adapter `{adapterId}` needs {neededBytes} bytes, more than the {budgetBytes} that adapters may take',
  ),
  ADAPTER_NOT_READY: spec(409, 'adapter_not_ready', INVALID, 'adapter `{adapterId}` is not ready: {reason}'),
  ADAPTER_UNREACHABLE: spec(
    503,
    'adapter_unreachable',
    'server_error',
    'adapter `{adapterId}` can be neither checked nor fetched now: {reason}',
  ),
  API_KEY: spec(401, 'authentication', 'authentication_error', 'the request carries no valid API key'),
  ADMIN_ONLY: spec(403, 'permission', 'permission_error', '{method} {path} {reason}'),
  OVERLOADED: spec(429, 'overloaded', 'rate_limit_error', 'the server already has {limit} requests in hand'),
  GENERATION: spec(424, 'generation', 'server_error', 'the request failed during generation: {reason}'),
  OUT_OF_MEMORY: spec(503, 'overloaded', 'server_error', 'no memory is left for {what}'),
  INCOMPLETE_GENERATION: spec(500, 'incomplete_generation', 'server_error', 'the generation ended without a result'),
  SHUTTING_DOWN: spec(503, 'overloaded', 'server_error', 'the server is shutting down'),
  UNHEALTHY: spec(503, 'healthcheck', 'server_error', 'unhealthy: {reason}'),
  INTERNAL: spec(500, 'internal', 'server_error', 'an error on our side; the server log has the details'),
  OPTION_INVALID: spec(500, 'startup', 'server_error', 'option {option}: {reason}'),
  MODEL_NOT_FOUND: spec(500, 'startup', 'server_error', 'model `{modelId}`: {reason}'),
  MODEL_INVALID: spec(500, 'startup', 'server_error', 'model `{modelId}` cannot be served: {reason}'),
  TRAINING_FAILED: spec(500, 'startup', 'server_error', 'training stopped: {reason}'),
  ENGINE_LIBRARY: spec(500, 'startup', 'server_error', 'the tensor library cannot be used: {reason}'),
  FILE_INVALID: spec(422, 'adapter_invalid', INVALID, '{file}: {reason}'),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Structured data for the response body, for instance an adapter's load report. */
  readonly details?: unknown;
}

/** An error with an answer: whoever meets it can tell the caller what happened and with which status. */
export class LoraxError extends Error {
  readonly code: ErrorCode;
  readonly params: Readonly<Record<string, string | number>>;
  readonly details: unknown;

  constructor(code: ErrorCode, params: Readonly<Record<string, string | number>> = {}, options: ErrorOptions = {}) {
    super(fill(ERRORS[code].message, params), options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'LoraxError';
    this.code = code;
    this.params = params;
    this.details = options.details;
  }

  get spec(): ErrorSpec {
    return ERRORS[this.code];
  }
}

/** A rejected request field: 422 with the field's name as the caller wrote it. */
export function invalidField(field: string, reason: string): LoraxError {
  return new LoraxError('VALIDATION', { field, reason });
}

function fill(template: string, params: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}
