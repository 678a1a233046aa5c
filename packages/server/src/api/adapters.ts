/** `/v1/adapters`: which adapters there are and in which state; loads one ahead of its requests, and frees one. */

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { AdapterStatus } from '../adapters/store/adapter-status.ts';
import { type AdapterSource, BASE_MODEL } from '../base/adapter-reference.ts';
import { LoraxError, invalidField } from '../base/errors.ts';
import { adapterToken, sourceOf } from './adapter.ts';
import { checkName } from './adapter-name.ts';
import { readBody } from './body.ts';
import type { ApiContext } from './context.ts';
import { requireAdmin } from './keys.ts';
import {
  type AdapterDetail,
  type AdapterList,
  AdapterQuery,
  type AdapterSummary,
  LoadAdapterRequest,
  type UnloadedAdapter,
} from './schemas/adapters.ts';
import { explain } from './schemas/explain.ts';
import type { AdapterLoad, Serving } from './serving.ts';
import { wireNames } from './wire-names.ts';

export function addAdapterRoutes(app: OpenAPIHono, { serving, keys, adapterApi }: ApiContext): void {
  const { adapters, limits } = serving;
  app.use('/v1/adapters/*', requireAdmin(keys, adapterApi));
  app.get('/v1/adapters', (c) => {
    const list: z.infer<typeof AdapterList> = { object: 'list', data: adapters.statuses().map(summary) };
    return c.json(list);
  });
  app.post('/v1/adapters', async (c) => {
    const body = await readBody(c, LoadAdapterRequest, limits.maxBodyBytes);
    return c.json(summary(await adapters.load(loadOf(c, body, serving), c.req.raw.signal)));
  });
  // Ids are repository names, paths and addresses: they contain slashes, and not every client escapes them.
  app.get('/v1/adapters/:id{.+}', (c) => c.json(detail(statusOf(c, serving))));
  app.delete('/v1/adapters/:id{.+}', async (c) => {
    const { id, source } = statusOf(c, serving);
    const { freed } = await adapters.unload(id, source, c.req.raw.signal);
    const answer: z.infer<typeof UnloadedAdapter> = { id, source, freed };
    return c.json(answer);
  });
}

function loadOf(c: Context, body: z.output<typeof LoadAdapterRequest>, serving: Serving): AdapterLoad {
  const { id, name } = body;
  if (id === BASE_MODEL) throw invalidField('id', 'must be an adapter, not the base model');
  const apiToken = adapterToken(c, body.api_token);
  const reference = { id, source: sourceOf(body.source, serving), ...(apiToken && { apiToken }) };
  if (name != null) checkName('name', name, reference, serving);
  return { reference, pin: body.pin ?? false, ...(name != null && { name }) };
}

/** The default source goes before the others, as in requests. */
function statusOf(c: Context, { adapters, defaultAdapterSource }: Serving): AdapterStatus {
  const id = c.req.param('id') ?? '';
  const source = querySource(c);
  const named = source === undefined ? adapters.resolveName(id) : undefined;
  const found = named
    ? adapters.find(named.id, named.source)
    : (adapters.find(id, source ?? defaultAdapterSource) ?? (source === undefined ? adapters.find(id) : undefined));
  if (found !== undefined) return found;
  throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: id, source: source ?? defaultAdapterSource });
}

function querySource(c: Context): AdapterSource | undefined {
  const given = c.req.queries('source');
  if (given === undefined) return undefined;
  const result = AdapterQuery.safeParse({ source: given.length === 1 ? given[0] : given });
  if (!result.success) throw explain(result.error);
  return result.data.source?.toLowerCase() as AdapterSource | undefined;
}

function summary(status: AdapterStatus): z.infer<typeof AdapterSummary> {
  const { id, names, source, revision, generation, state, bytes, failure, lastUsedAtMs } = status;
  return {
    id,
    names: [...names],
    source,
    revision: revision ?? null,
    generation: generation ?? null,
    state,
    pinned: status.isPinned,
    bytes: { disk: bytes.disk, host: bytes.host, device: bytes.device },
    ranks: [...status.ranks],
    targets: [...status.targets],
    last_used: lastUsedAtMs === undefined ? null : Math.floor(lastUsedAtMs / 1000),
    running_requests: status.runningCount,
    failure: failure === undefined ? null : wireFailure(failure),
  };
}

function wireFailure({ code, reason, retryAtMs }: NonNullable<AdapterStatus['failure']>) {
  return { code, reason, retry_at: Math.ceil(retryAtMs / 1000) };
}

function detail(status: AdapterStatus): z.infer<typeof AdapterDetail> {
  const report = status.report === undefined ? null : (wireNames(status.report) as Record<string, unknown>);
  return { ...summary(status), report };
}
