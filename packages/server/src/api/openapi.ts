/** `/openapi.json`: the routes with the very schemas that check their bodies. A test compares it with the routes there are. */

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { ChatChunk, ChatMessage, ChatRequest, ChatResponse } from './schemas/chat.ts';
import { CompletionRequest, CompletionResponse } from './schemas/completions.ts';
import {
  CompatGenerateRequest,
  GenerateRequest,
  GenerateResponse,
  NativeError,
  StreamResponse,
} from './schemas/native.ts';
import { Model, ModelList, OpenAiError } from './schemas/openai.ts';
import { TokenizeRequest, TokenizeResponse } from './schemas/tokenize.ts';
import { HEALTH_PATHS } from './operations.ts';

type Registry = OpenAPIHono['openAPIRegistry'];

interface PostRoute {
  readonly path: string;
  readonly summary: string;
  readonly body: z.ZodType;
  /** The whole answer. */
  readonly json?: z.ZodType;
  /** One event of the stream. */
  readonly event?: z.ZodType;
  readonly error: z.ZodType;
}

const POST_ROUTES: readonly PostRoute[] = [
  {
    path: '/generate',
    summary: 'Generate text',
    body: GenerateRequest,
    json: GenerateResponse,
    error: NativeError,
  },
  {
    path: '/generate_stream',
    summary: 'Generate text as a stream',
    body: GenerateRequest,
    event: StreamResponse,
    error: NativeError,
  },
  ...['/', '/invocations'].map((path) => ({
    path,
    summary: 'Generate text; `stream` chooses the form of the answer',
    body: CompatGenerateRequest,
    json: z.array(GenerateResponse).length(1),
    event: StreamResponse,
    error: NativeError,
  })),
  {
    path: '/v1/completions',
    summary: "Complete prompts, in OpenAI's form",
    body: CompletionRequest,
    json: CompletionResponse,
    event: CompletionResponse,
    error: OpenAiError,
  },
  {
    path: '/v1/chat/completions',
    summary: "Answer a conversation, in OpenAI's form",
    body: ChatRequest,
    json: ChatResponse,
    event: ChatChunk,
    error: OpenAiError,
  },
  {
    path: '/tokenize',
    summary: 'The tokens of a text',
    body: TokenizeRequest,
    json: TokenizeResponse,
    error: NativeError,
  },
];

const FAILURES: Readonly<Record<number, string>> = {
  400: 'The body is not JSON',
  403: 'The adapter is not accessible',
  404: 'The adapter was not found',
  413: 'The body is too large',
  415: 'The body is not sent as application/json',
  422: 'A field is out of range, or the adapter cannot be used',
  424: 'The generation failed',
  429: 'The server has its hands full',
  500: 'A bug of the server',
  503: 'The server is shutting down',
};

export function addOpenApiRoute(app: OpenAPIHono, version: string): void {
  const registry = app.openAPIRegistry;
  registry.register('ChatMessage', ChatMessage);
  for (const route of POST_ROUTES) registerPost(registry, route);
  registerGets(registry);
  app.doc31('/openapi.json', { openapi: '3.1.0', info: { title: 'LoRAX', version } });
}

function registerPost(registry: Registry, { path, summary, body, json, event, error }: PostRoute): void {
  const content = {
    ...(json && { 'application/json': { schema: json } }),
    ...(event && { 'text/event-stream': { schema: event } }),
  };
  const failures = Object.entries(FAILURES).map(
    ([status, description]) => [status, jsonResponse(description, error)] as const,
  );
  registry.registerPath({
    method: 'post',
    path,
    summary,
    security: [{}, { adapterToken: [] }],
    request: { body: { required: true, content: { 'application/json': { schema: body } } } },
    responses: { 200: { description: 'The answer', content }, ...Object.fromEntries(failures) },
  });
}

function registerGets(registry: Registry): void {
  registry.registerComponent('securitySchemes', 'adapterToken', {
    type: 'http',
    scheme: 'bearer',
    description: 'Opens the adapter at its source, where `api_token` is absent.',
  });
  const anything = z.record(z.string(), z.unknown());
  for (const path of HEALTH_PATHS) {
    get(registry, path, 'Whether the model can answer', {
      200: { description: 'It can' },
      503: jsonResponse('It cannot', NativeError),
    });
  }
  get(registry, '/info', 'What is served, and within which limits', { 200: jsonResponse('The facts', anything) });
  get(registry, '/metrics', 'Metrics for Prometheus, or as JSON where that is accepted', {
    200: {
      description: 'The metrics',
      content: { 'text/plain': { schema: z.string() }, 'application/json': { schema: anything } },
    },
  });
  get(registry, '/v1/models', 'The base model and the adapters', { 200: jsonResponse('The models', ModelList) });
  get(registry, '/v1/models/{id}', 'One of the models', {
    200: jsonResponse('The model', Model),
    404: jsonResponse('There is none of this id', OpenAiError),
  });
  get(registry, '/openapi.json', 'This document', { 200: jsonResponse('The document', anything) });
}

function get(registry: Registry, path: string, summary: string, responses: object): void {
  const params = path.includes('{id}') ? { request: { params: z.object({ id: z.string() }) } } : {};
  registry.registerPath({ method: 'get', path, summary, ...params, responses: { ...responses } });
}

function jsonResponse(description: string, schema: z.ZodType) {
  return { description, content: { 'application/json': { schema } } };
}
