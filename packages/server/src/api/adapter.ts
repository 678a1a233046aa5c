/** Which adapter a body asks for. Knows nothing about where adapters are or whether this one exists. */

import type { Context } from 'hono';
import type { AdapterReference, AdapterSource } from '../base/adapter-reference.ts';
import type { Serving } from './serving.ts';

/** LoRAX's name for the bare base, which stays within reach beside a default adapter. */
const BASE_MODEL = '__base_model__';

const BEARER = /^Bearer +(\S+)\s*$/i;

export interface AdapterFields {
  readonly adapter_id?: string | null | undefined;
  readonly adapter_source?: string | null | undefined;
  readonly api_token?: string | null | undefined;
}

/** Undefined is the base. A request that names nothing gets the server's default adapter. The token is `api_token`, or else the bearer token of the request. */
export function adapterReference(c: Context, fields: AdapterFields, serving: Serving): AdapterReference | undefined {
  const id = fields.adapter_id ?? '';
  if (id === '') return serving.defaultAdapter;
  if (id === BASE_MODEL) return undefined;
  const apiToken = fields.api_token || BEARER.exec(c.req.header('authorization') ?? '')?.[1];
  const source = (fields.adapter_source?.toLowerCase() as AdapterSource | undefined) ?? serving.defaultAdapterSource;
  return { id, source, ...(apiToken && { apiToken }) };
}

/** OpenAI's clients choose the adapter by `model`; an explicit `adapter_id` wins. */
export function modelReference(
  c: Context,
  fields: AdapterFields & { readonly model: string },
  serving: Serving,
): AdapterReference | undefined {
  const model = fields.model === serving.model.id ? '' : fields.model;
  return adapterReference(c, { ...fields, adapter_id: fields.adapter_id ?? model }, serving);
}
