/** Assembles the routes into one application, with CORS and one place where errors become responses. Opens no socket. */

import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { cors } from 'hono/cors';
import { LoraxError } from '../base/errors.ts';
import { addAdapterRoutes } from './adapters.ts';
import { addChatRoutes } from './chat.ts';
import { addCompletionRoutes } from './completions.ts';
import type { ApiContext, ApiLog, ApiMetrics } from './context.ts';
import { errorResponse } from './errors.ts';
import { Keyring, requireKey } from './keys.ts';
import { addLoraAdapterRoutes } from './lora-adapters.ts';
import { addModelRoutes } from './models.ts';
import { addNativeRoutes } from './native.ts';
import { addOpenApiRoute } from './openapi.ts';
import { addOperationRoutes } from './operations.ts';
import type { Serving } from './serving.ts';
import { addTokenizeRoute } from './tokenize.ts';

/** As LoRAX. */
const KEEP_ALIVE_MS = 15_000;

/** Which pages may call the server, and how. */
export interface CorsRules {
  /** `*` is any. */
  readonly origins: readonly string[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly exposedHeaders: readonly string[];
  readonly credentials: boolean;
}

/** Pages of any origin; they may send tokens and read LoRAX's headers. */
const OPEN_CORS: CorsRules = {
  origins: ['*'],
  methods: ['GET', 'POST', 'DELETE'],
  headers: ['content-type', 'authorization', 'x-adapter-token'],
  exposedHeaders: ['*'],
  credentials: false,
};

export interface AppOptions {
  readonly metrics: ApiMetrics;
  readonly log: ApiLog;
  readonly version: string;
  readonly cors?: CorsRules;
  /** Absent or empty: the server is open. */
  readonly keys?: Keyring;
  /** Absent: the adapter routes are for holders of an admin key. */
  readonly adapterApi?: boolean;
  readonly keepAliveMs?: number;
}

export function createApp(serving: Serving, options: AppOptions): OpenAPIHono {
  const { metrics, log, version, cors: rules = OPEN_CORS, keepAliveMs = KEEP_ALIVE_MS } = options;
  const { keys = new Keyring([], []), adapterApi = false } = options;
  const api: ApiContext = { serving, metrics, log, keys, adapterApi, keepAliveMs };
  const app = new OpenAPIHono();
  app.use(corsFor(rules)); // first, so that a preflight, which carries no key, is answered
  app.use(requireKey(keys, log));
  addNativeRoutes(app, api);
  addCompletionRoutes(app, api);
  addChatRoutes(app, api);
  addModelRoutes(app, api);
  addAdapterRoutes(app, api);
  addLoraAdapterRoutes(app, api);
  addTokenizeRoute(app, api);
  addOperationRoutes(app, api);
  addOpenApiRoute(app, { version, hasKeys: !keys.isEmpty });
  refuseOtherMethods(app);
  app.notFound((c) =>
    errorResponse(c, new LoraxError('ROUTE_NOT_FOUND', { method: c.req.method, path: c.req.path }), log),
  );
  app.onError((error, c) => errorResponse(c, error, log));
  return app;
}

function corsFor(rules: CorsRules) {
  const { origins, methods, headers, exposedHeaders, credentials } = rules;
  return cors({
    origin: origins.includes('*') ? '*' : [...origins],
    allowMethods: [...methods],
    allowHeaders: [...headers],
    exposeHeaders: [...exposedHeaders],
    credentials,
  });
}

/** 405 with the methods there are, where a path exists but not with the method that was asked for. */
function refuseOtherMethods(app: OpenAPIHono): void {
  const methods = new Map<string, Set<string>>();
  for (const { path, method } of app.routes) {
    if (method === 'ALL') continue;
    const known = methods.get(path) ?? new Set();
    methods.set(path, known.add(method));
    if (method === 'GET') known.add('HEAD');
  }
  for (const [path, known] of methods) {
    app.all(path, (c: Context) => {
      c.header('allow', [...known].join(', '));
      throw new LoraxError('METHOD_NOT_ALLOWED', { method: c.req.method, path: c.req.path });
    });
  }
}
