/** `/v1/models`: the base model and the adapters that the server knows, as OpenAI lists models. */

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { LoraxError } from '../base/errors.ts';
import type { ApiContext } from './context.ts';
import type { Model } from './schemas/openai.ts';
import type { ServedAdapter, Serving } from './serving.ts';

export function addModelRoutes(app: OpenAPIHono, { serving }: ApiContext): void {
  app.get('/v1/models', (c) => c.json({ object: 'list', data: models(serving) }));
  // Ids are repository names and paths: they contain slashes, and not every client escapes them.
  app.get('/v1/models/:id{.+}', (c) => {
    const id = c.req.param('id');
    const model = models(serving).find((candidate) => candidate.id === id);
    if (model === undefined) {
      throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: id, source: serving.defaultAdapterSource });
    }
    return c.json(model);
  });
}

/** The names that the adapter API gave stand before the ids: requests look there first, too. */
function models(serving: Serving): z.infer<typeof Model>[] {
  const { model } = serving;
  const base = { id: model.id, object: 'model' as const, created: model.createdAt, owned_by: 'lorax', parent: null };
  const names = namedAdapters(serving);
  const taken = new Set(names.map(({ id }) => id));
  const adapters = [...names, ...serving.listAdapters().filter(({ id }) => !taken.has(id))];
  return [base, ...adapters.map((adapter) => adapterModel(serving, adapter))];
}

/** An adapter that was replaced while requests run has several statuses; `find` gives the newest. */
function namedAdapters({ adapters }: Serving): (ServedAdapter & { readonly root: string })[] {
  const names = new Set(adapters.statuses().flatMap((status) => status.names));
  return [...names].flatMap((name) => {
    const status = adapters.find(name);
    if (status === undefined) return [];
    const { id: root, source, generation } = status;
    return [{ id: name, root, source, ...(generation !== undefined && { generation }) }];
  });
}

function adapterModel({ model }: Serving, adapter: ServedAdapter & { readonly root?: string }): z.infer<typeof Model> {
  const { id, source, generation, createdAt, root } = adapter;
  return {
    id,
    object: 'model',
    created: createdAt ?? model.createdAt,
    owned_by: 'lorax',
    parent: model.id,
    ...(root !== undefined && { root }),
    adapter_source: source,
    ...(generation !== undefined && { adapter_generation: generation }),
  };
}
