/**
 * vLLM's two routes, for programs that manage its adapters: a name is given to an adapter, or taken away. Answers, errors
 * and their forms are vLLM's; names are atomic and never move unless the caller says `load_inplace`.
 */

import { isAbsolute } from 'node:path';
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { AdapterReference } from '../base/adapter-reference.ts';
import { invalidField, LoraxError } from '../base/errors.ts';
import { adapterToken } from './adapter.ts';
import { checkName } from './adapter-name.ts';
import { readBody } from './body.ts';
import type { ApiContext } from './context.ts';
import { asLoraxError, logError, openaiError } from './errors.ts';
import { requireAdmin } from './keys.ts';
import { type LoraError, LoadLoraRequest, UnloadLoraRequest } from './schemas/adapters.ts';
import type { Serving } from './serving.ts';

export function addLoraAdapterRoutes(app: OpenAPIHono, api: ApiContext): void {
  const { serving, keys, adapterApi } = api;
  const names = new NewNames(serving);
  for (const path of ['/v1/load_lora_adapter', '/v1/unload_lora_adapter']) {
    app.use(path, requireAdmin(keys, adapterApi));
  }
  app.post(
    '/v1/load_lora_adapter',
    plainAnswer(api, async (c) => {
      const body = await readBody(c, LoadLoraRequest, serving.limits.maxBodyBytes);
      const { lora_name: name } = body;
      const reference = referenceAt(body.lora_path, adapterToken(c, undefined));
      checkName('lora_name', name, reference, serving);
      const load = { reference, name, pin: false };
      const { signal } = c.req.raw;
      if (body.load_inplace) await serving.adapters.load({ ...load, moveName: true }, signal);
      else await names.claim(name, () => serving.adapters.load(load, signal));
      return `Success: LoRA adapter '${name}' added successfully.`;
    }),
  );
  app.post(
    '/v1/unload_lora_adapter',
    plainAnswer(api, async (c) => {
      const { lora_name: name } = await readBody(c, UnloadLoraRequest, serving.limits.maxBodyBytes);
      if (serving.adapters.resolveName(name) === undefined) throw unknownName(name, serving);
      await serving.adapters.unload(name, undefined, c.req.raw.signal);
      return `Success: LoRA adapter '${name}' removed successfully.`;
    }),
  );
}

/** Names that stand for nothing yet: two loads at once cannot both have one. */
class NewNames {
  readonly #serving: Serving;
  readonly #claimed = new Set<string>();

  constructor(serving: Serving) {
    this.#serving = serving;
  }

  async claim<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#claimed.has(name) || this.#serving.adapters.resolveName(name) !== undefined) {
      throw invalidField('lora_name', 'has already been loaded; set `load_inplace` to load in place');
    }
    this.#claimed.add(name);
    try {
      return await work();
    } finally {
      this.#claimed.delete(name);
    }
  }
}

/** What is no path and no address is an id on the Hub, as with vLLM. */
function referenceAt(path: string, apiToken: string | undefined): AdapterReference {
  const source = path.startsWith('s3://') ? 's3' : isAbsolute(path) ? 'local' : 'hub';
  return { id: path, source, ...(apiToken && { apiToken }) };
}

function unknownName(name: string, { defaultAdapterSource }: Serving): LoraxError {
  return new LoraxError('ADAPTER_NOT_FOUND', { adapterId: name, source: defaultAdapterSource });
}

function plainAnswer(api: ApiContext, answer: (c: Context) => Promise<string>): (c: Context) => Promise<Response> {
  return async (c) => {
    try {
      return c.text(await answer(c));
    } catch (thrown) {
      if (c.req.raw.signal.aborted) throw thrown;
      const error = asLoraxError(thrown);
      logError(error, api.log, c.req.path);
      const body = loraError(error);
      return c.json(body, body.error.code as ContentfulStatusCode);
    }
  };
}

/** vLLM's clients know 400 where we say 422. */
function loraError(error: LoraxError): z.infer<typeof LoraError> {
  const { error: own } = openaiError(error);
  const status = error.spec.status === 422 ? 400 : error.spec.status;
  return { error: { ...own, type: errorName(error, status), code: status } };
}

function errorName({ code }: LoraxError, status: number): string {
  if (code === 'VALIDATION') return 'InvalidUserInput';
  if (status === 404) return 'NotFoundError';
  return status < 500 ? 'BadRequestError' : 'InternalServerError';
}
