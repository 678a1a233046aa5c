/** Which adapter a body asks for. Knows nothing about where adapters are or whether this one exists. */

import type { Context } from 'hono';
import {
  type AdapterChoice,
  type AdapterReference,
  type AdapterSource,
  BASE_MODEL,
} from '../base/adapter-reference.ts';
import { invalidField } from '../base/errors.ts';
import { mergedChoice } from './merged-adapters.ts';
import type { MergedAdaptersField } from './schemas/adapter.ts';
import { bearerToken } from './keys.ts';
import type { Serving } from './serving.ts';

export interface AdapterFields {
  readonly adapter_id?: string | null | undefined;
  readonly adapter_source?: string | null | undefined;
  readonly merged_adapters?: MergedAdaptersField | null | undefined;
  readonly api_token?: string | null | undefined;
}

/** Undefined is the base. A request that names nothing gets the server's default adapter. */
export function adapterReference(c: Context, fields: AdapterFields, serving: Serving): AdapterChoice | undefined {
  const id = fields.adapter_id ?? '';
  const named = (name: string, source = fields.adapter_source): AdapterReference =>
    namedAdapter(name, source, adapterToken(c, fields.api_token), serving);
  if (fields.merged_adapters != null) {
    if (id === '') return mergedChoice(fields.merged_adapters, named);
    throw invalidField('merged_adapters', 'must not be set where `adapter_id` or `model` names an adapter');
  }
  if (id === '') return serving.defaultAdapter;
  if (id !== BASE_MODEL) return named(id);
  if (serving.hasBareBase) return undefined;
  throw invalidField('adapter_id', `is \`${BASE_MODEL}\`; --merge-adapter-weights serves no bare base`);
}

/** A name that the adapter API gave, or else an id. Who names a source means an id in it. */
function namedAdapter(
  idOrName: string,
  source: string | null | undefined,
  apiToken: string | undefined,
  serving: Serving,
): AdapterReference {
  const own = source == null ? serving.adapters.resolveName(idOrName) : undefined;
  const { id, source: from } = own ?? { id: idOrName, source: sourceOf(source, serving) };
  return { id, source: from, ...(apiToken && { apiToken }) };
}

/** `source` has been checked by a schema. */
export function sourceOf(source: string | null | undefined, { defaultAdapterSource }: Serving): AdapterSource {
  return (source?.toLowerCase() as AdapterSource | undefined) ?? defaultAdapterSource;
}

/**
 * The caller's token for the adapter's source: `api_token`, or else the header `x-adapter-token`. A bearer token counts
 * only where the server has no keys, and no key of the server counts at all: none must ever reach a source.
 */
export function adapterToken(c: Context, apiToken: string | null | undefined): string | undefined {
  const { keys } = c.var;
  const own = apiToken || c.req.header('x-adapter-token');
  if (!own) return keys.isEmpty ? bearerToken(c) : undefined;
  if (keys.holderOf(own) === undefined) return own;
  throw invalidField(apiToken ? 'api_token' : 'x-adapter-token', 'must not be a key of this server');
}

/** OpenAI's clients choose the adapter by `model`; an explicit `adapter_id` wins. */
export function modelReference(
  c: Context,
  fields: AdapterFields & { readonly model: string },
  serving: Serving,
): AdapterChoice | undefined {
  const model = fields.model === serving.model.id ? '' : fields.model;
  return adapterReference(c, { ...fields, adapter_id: fields.adapter_id ?? model }, serving);
}
