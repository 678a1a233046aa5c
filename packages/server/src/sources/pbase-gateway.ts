/**
 * Predibase's gateway: which S3 path an adapter's version stands for, and whether it can be used yet. Tokens go to the
 * gateway's own origin only, and redirects are not followed. Knows nothing about S3; failures are `SourceFault`s.
 */

import { z } from 'zod';

import { LoraxError } from '../base/errors.ts';
import { IdleLimit } from './idle-limit.ts';
import type { PbaseId } from './pbase-id.ts';
import { discard, textOf } from './response-bytes.ts';
import { type RetryPolicy, withRetries } from './retry.ts';
import { SourceFault, networkFault, statusFault } from './source-fault.ts';

const LIMIT_MS = 15_000;
const MAX_ANSWER_BYTES = 1 << 20;
/** How messages call it. */
const GATEWAY = 'the Predibase gateway';

/** Training that goes on or ended early has left weights that can be used. */
const USABLE: ReadonlySet<string> = new Set(['completed', 'errored', 'canceled', 'stopped', 'training']);

const STATUS = z.string().regex(/^\w[\w -]{0,63}$/);
const VERSION = z.object({ adapterPath: z.string().max(4096).nullish(), status: STATUS });
const LEGACY_PART = z.string().regex(/^\w[\w.-]{0,127}$/);
const LEGACY = z.object({ uuid: LEGACY_PART, bestRunID: z.union([LEGACY_PART, z.literal('')]).nullish() });

interface Ask {
  readonly token: string | undefined;
  readonly signal: AbortSignal;
}

export class PbaseGateway {
  readonly #endpoint: string;
  readonly #retries: RetryPolicy;

  constructor(endpoint: string, retries: RetryPolicy) {
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#retries = retries;
  }

  /** The S3 path of an adapter. Rejects with ADAPTER_NOT_READY while it has no weights. */
  async pathOf(id: PbaseId, ask: Ask): Promise<string> {
    return (await this.#versionPath(id, ask)) ?? (await this.#legacyPath(id, ask));
  }

  /** Undefined where only the older route can know it: for the latest version, and for adapters from before the newer one. */
  async #versionPath({ text, repo, version }: PbaseId, ask: Ask): Promise<string | undefined> {
    if (version === undefined) return undefined;
    const route = `v2/repos/${encodeURIComponent(repo)}/version/${encodeURIComponent(version)}`;
    const answer = await this.#get(route, ask);
    if (answer === undefined) return undefined;
    const { adapterPath, status } = parse(VERSION, answer);
    if (!USABLE.has(status)) throw notReady(text, `its status is ${status}`);
    if (!adapterPath) throw notReady(text, `its status is ${status}, and it has no weights yet`);
    return adapterPath;
  }

  async #legacyPath({ text, repo, version }: PbaseId, ask: Ask): Promise<string> {
    const query = version === undefined ? '' : `?version=${encodeURIComponent(version)}`;
    const answer = await this.#get(`v1/models/version/name/${encodeURIComponent(repo)}${query}`, ask);
    if (answer === undefined) throw new SourceFault('missing', `${GATEWAY} does not know it`);
    const { uuid, bestRunID } = parse(LEGACY, answer);
    if (!bestRunID) throw notReady(text, 'none of its runs has weights yet');
    return `${uuid}/${bestRunID}/artifacts/model/model_weights/`;
  }

  /** Undefined for 404. */
  #get(route: string, { token, signal }: Ask): Promise<unknown> {
    return withRetries(this.#retries, signal, async () => {
      const limit = new IdleLimit(signal, LIMIT_MS, GATEWAY);
      try {
        const response = await this.#fetch(`${this.#endpoint}/${route}`, token, limit.signal);
        if (response.ok) return parseJson(await textOf(response, MAX_ANSWER_BYTES, GATEWAY));
        await discard(response);
        if (response.status === 404) return undefined;
        throw statusFault(response, GATEWAY);
      } finally {
        limit.dispose();
      }
    });
  }

  async #fetch(url: string, token: string | undefined, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    try {
      return await fetch(url, { headers: { ...headers, 'user-agent': 'lorax' }, redirect: 'manual', signal });
    } catch (error) {
      signal.throwIfAborted();
      throw networkFault(error, GATEWAY);
    }
  }
}

function notReady(adapterId: string, reason: string): LoraxError {
  return new LoraxError('ADAPTER_NOT_READY', { adapterId, reason });
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const fields = result.error.issues.map(({ path }) => path.join('.') || 'the whole').join(', ');
  throw new SourceFault('broken', `${GATEWAY} gave an answer that cannot be used (${fields})`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SourceFault('broken', `${GATEWAY} gave an answer that is not JSON`);
  }
}
