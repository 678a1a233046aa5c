/**
 * The server's own keys: who may call it, and who may also manage its adapters. Keeps digests and compares every one of
 * them in constant time, so that neither memory nor timing tells a key. Knows nothing about adapters' tokens.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context, MiddlewareHandler } from 'hono';
import { LoraxError } from '../base/errors.ts';
import type { AccessKey } from '../config/access-keys.ts';
import type { ApiLog } from './context.ts';

/** The holder of a key. */
export interface Caller {
  /** The key's name, for the log alone. */
  readonly name: string;
  readonly isAdmin: boolean;
}

declare module 'hono' {
  interface ContextVariableMap {
    keys: Keyring;
    /** Undefined where the server has no keys, and on `/health`. */
    caller: Caller | undefined;
  }
}

/** For load balancers and orchestrators, which have no key. It tells one bit. */
export const OPEN_PATH = '/health';

const BEARER = /^Bearer +(\S+)\s*$/i;

export class Keyring {
  readonly #entries: readonly { readonly digest: Buffer; readonly caller: Caller }[];

  /** Every admin key is an API key too. */
  constructor(apiKeys: readonly AccessKey[], adminKeys: readonly AccessKey[]) {
    const entry = ({ name, key }: AccessKey, isAdmin: boolean) => ({
      digest: digestOf(key),
      caller: { name, isAdmin },
    });
    this.#entries = [...apiKeys.map((key) => entry(key, false)), ...adminKeys.map((key) => entry(key, true))];
  }

  /** Without keys the server is open, as LoRAX is. */
  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get hasAdmin(): boolean {
    return this.#entries.some(({ caller }) => caller.isAdmin);
  }

  holderOf(key: string): Caller | undefined {
    const digest = digestOf(key);
    return this.#entries.filter((entry) => timingSafeEqual(entry.digest, digest))[0]?.caller;
  }
}

/** Keys differ in length and `timingSafeEqual` wants equal ones. */
function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** Lets nobody past without a key, routes that do not exist included. */
export function requireKey(keys: Keyring, log: ApiLog): MiddlewareHandler {
  return async (c, next) => {
    c.set('keys', keys);
    if (keys.isEmpty || isOpen(c)) return next();
    const caller = keys.holderOf(bearerToken(c) ?? '');
    if (caller === undefined) {
      c.header('www-authenticate', 'Bearer');
      throw new LoraxError('API_KEY');
    }
    log.debug({ method: c.req.method, path: c.req.path, caller: caller.name }, 'request');
    c.set('caller', caller);
    return next();
  };
}

function isOpen(c: Context): boolean {
  return c.req.path === OPEN_PATH && (c.req.method === 'GET' || c.req.method === 'HEAD');
}

export function bearerToken(c: Context): string | undefined {
  return BEARER.exec(c.req.header('authorization') ?? '')?.[1];
}

/** The adapter routes: for every caller, or for those with an admin key. */
export function requireAdmin(keys: Keyring, isForAll: boolean): MiddlewareHandler {
  return async (c, next) => {
    if (isForAll || c.var.caller?.isAdmin) return next();
    const reason = keys.hasAdmin
      ? 'is for holders of an admin key'
      : 'is switched off; --adapter-api opens it to every caller, --admin-key to holders of such a key';
    throw new LoraxError('ADMIN_ONLY', { method: c.req.method, path: c.req.path, reason });
  };
}
