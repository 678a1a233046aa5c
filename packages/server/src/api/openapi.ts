/** `/openapi.json`: the routes with the very schemas that check their bodies. A test compares it with the routes there are. */

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { OPEN_PATH } from './keys.ts';
import { type PostRoute, POST_ROUTES } from './openapi-posts.ts';
import { HEALTH_PATHS } from './operations.ts';
import { AdapterDetail, AdapterList, AdapterQuery, UnloadedAdapter } from './schemas/adapters.ts';
import { ChatMessage } from './schemas/chat.ts';
import { NativeError } from './schemas/native.ts';
import { Model, ModelList, OpenAiError } from './schemas/openai.ts';

type Registry = OpenAPIHono['openAPIRegistry'];

export interface DocumentFacts {
  readonly version: string;
  /** What the bearer token is depends on it. */
  readonly hasKeys: boolean;
}

const UNAUTHORISED = 'The server has keys, and the request carries none of them';

const FAILURES: Readonly<Record<number, string>> = {
  400: 'The body is not JSON',
  401: UNAUTHORISED,
  403: 'The adapter is not accessible, or the route needs an admin key',
  404: 'The adapter was not found',
  409: 'The adapter is not ready at its source',
  413: 'The body is too large',
  415: 'The body is not sent as application/json',
  422: 'A field is out of range, or the adapter cannot be used',
  424: 'The generation failed',
  429: 'The server has its hands full',
  500: 'A bug of the server',
  503: 'The server is shutting down, or the source of the adapter cannot be asked',
};

export function addOpenApiRoute(app: OpenAPIHono, { version, hasKeys }: DocumentFacts): void {
  const registry = app.openAPIRegistry;
  registry.register('ChatMessage', ChatMessage);
  registerTokens(registry, hasKeys);
  for (const route of POST_ROUTES) registerPost(registry, route, hasKeys);
  registerOperations(registry);
  registerModels(registry);
  registerAdapters(registry);
  const security = hasKeys ? [{ bearer: [] }] : [];
  app.doc31('/openapi.json', { openapi: '3.1.0', info: { title: 'LoRAX', version }, security });
}

function registerTokens(registry: Registry, hasKeys: boolean): void {
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: hasKeys
      ? 'A key of this server.'
      : 'Opens the adapter at its source, where `api_token` and x-adapter-token are absent.',
  });
  registry.registerComponent('securitySchemes', 'adapterToken', {
    type: 'apiKey',
    in: 'header',
    name: 'x-adapter-token',
    description: 'Opens the adapter at its source, where `api_token` is absent.',
  });
}

function registerPost(registry: Registry, route: PostRoute, hasKeys: boolean): void {
  const { path, summary, body, json, event, text, error } = route;
  const content = {
    ...(text && { 'text/plain': { schema: z.string() } }),
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
    security: hasKeys ? [{ bearer: [] }, { bearer: [], adapterToken: [] }] : [{}, { bearer: [] }, { adapterToken: [] }],
    request: { body: { required: true, content: { 'application/json': { schema: body } } } },
    responses: { 200: { description: 'The answer', content }, ...Object.fromEntries(failures) },
  });
}

const ANYTHING = z.record(z.string(), z.unknown());

function registerOperations(registry: Registry): void {
  for (const path of HEALTH_PATHS) {
    const isOpen = path === OPEN_PATH;
    registry.registerPath({
      method: 'get',
      path,
      summary: 'Whether the model can answer',
      ...(isOpen && { security: [] }),
      responses: {
        200: { description: 'It can' },
        ...(!isOpen && { 401: jsonResponse(UNAUTHORISED, NativeError) }),
        503: jsonResponse('It cannot', NativeError),
      },
    });
  }
  get(registry, '/info', 'What is served, and within which limits', NativeError, {
    200: jsonResponse('The facts', ANYTHING),
  });
  get(registry, '/metrics', 'Metrics for Prometheus, or as JSON where that is accepted', NativeError, {
    200: {
      description: 'The metrics',
      content: { 'text/plain': { schema: z.string() }, 'application/json': { schema: ANYTHING } },
    },
  });
  get(registry, '/openapi.json', 'This document', NativeError, { 200: jsonResponse('The document', ANYTHING) });
}

function registerModels(registry: Registry): void {
  get(registry, '/v1/models', 'The base model, the adapters and their names', OpenAiError, {
    200: jsonResponse('The models', ModelList),
  });
  get(registry, '/v1/models/{id}', 'One of the models', OpenAiError, {
    200: jsonResponse('The model', Model),
    404: jsonResponse('There is none of this id', OpenAiError),
  });
}

function registerAdapters(registry: Registry): void {
  const refused = {
    401: jsonResponse(UNAUTHORISED, OpenAiError),
    403: jsonResponse('The route needs an admin key, or is switched off', OpenAiError),
  };
  const missing = { 404: jsonResponse('There is no such adapter', OpenAiError) };
  const request = { params: z.object({ id: z.string() }), query: AdapterQuery };
  registry.registerPath({
    method: 'get',
    path: '/v1/adapters',
    summary: 'The adapters that the server knows of',
    responses: { 200: jsonResponse('The adapters', AdapterList), ...refused },
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/adapters/{id}',
    summary: 'One of the adapters, with its load report',
    request,
    responses: { 200: jsonResponse('The adapter', AdapterDetail), ...refused, ...missing },
  });
  registry.registerPath({
    method: 'delete',
    path: '/v1/adapters/{id}',
    summary: 'Let the requests of an adapter end, then free it',
    request,
    responses: { 200: jsonResponse('What it gave back', UnloadedAdapter), ...refused, ...missing },
  });
}

function get(registry: Registry, path: string, summary: string, error: z.ZodType, responses: object): void {
  const params = path.includes('{id}') ? { request: { params: z.object({ id: z.string() }) } } : {};
  const refused = { 401: jsonResponse(UNAUTHORISED, error) };
  registry.registerPath({ method: 'get', path, summary, ...params, responses: { ...responses, ...refused } });
}

function jsonResponse(description: string, schema: z.ZodType) {
  return { description, content: { 'application/json': { schema } } };
}
