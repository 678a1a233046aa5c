/** What the environment says about the Hub: the variables that its Python client reads, so that both behave alike. */

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import type { Environment } from './derive.ts';
import { toggle } from './value-forms.ts';

export interface HubSettings {
  /** Another Hub than the public one. */
  readonly hubEndpoint: string | undefined;
  /** Use what the cache holds and ask nobody. */
  readonly hubOffline: boolean;
  /** The operator's token; not a flag, because the command lines of all processes can be read by every user. */
  readonly hubToken: string | undefined;
  /** Requests that bring no token use the operator's. */
  readonly hubTokenShared: boolean;
}

/** For the reference page. */
export const HUB_VARIABLES: Readonly<Record<string, string>> = {
  HF_TOKEN: 'Token for the base model; also HUGGING_FACE_HUB_TOKEN and HF_API_TOKEN, as LoRAX had it',
  HF_TOKEN_PATH: 'File with the token, where none of these is set; HF_HOME/token where this is not set either',
  LORAX_USE_GLOBAL_HF_TOKEN: 'Use that token also for the adapters of requests that bring none',
  HF_ENDPOINT: 'Address of another Hub than the public one',
  HF_HUB_OFFLINE: 'Use what the cache holds and ask nobody; also TRANSFORMERS_OFFLINE',
};

export function hubSettings(env: Environment): HubSettings {
  return {
    hubEndpoint: env['HF_ENDPOINT'] || undefined,
    hubOffline: isOn(env, env['HF_HUB_OFFLINE'] ? 'HF_HUB_OFFLINE' : 'TRANSFORMERS_OFFLINE'),
    hubToken: tokenIn(env),
    hubTokenShared: isOn(env, 'LORAX_USE_GLOBAL_HF_TOKEN'),
  };
}

/** Where the Hub's Python client keeps its cache. */
export function hubCacheFolder(env: Environment): string {
  return pathIn(env, 'HF_HUB_CACHE') ?? pathIn(env, 'HUGGINGFACE_HUB_CACHE') ?? join(hubHome(env), 'hub');
}

/** Where all programs keep what can be had again. */
export function cacheHome(env: Environment): string {
  return pathIn(env, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache');
}

function hubHome(env: Environment): string {
  return pathIn(env, 'HF_HOME') ?? join(cacheHome(env), 'huggingface');
}

function tokenIn(env: Environment): string | undefined {
  const named = env['HF_TOKEN'] || env['HUGGING_FACE_HUB_TOKEN'] || env['HF_API_TOKEN'];
  return (named || tokenInFile(env))?.replace(/[\r\n]/g, '').trim() || undefined;
}

/** What `hf auth login` wrote. Only a file that was asked for by name has to be readable. */
function tokenInFile(env: Environment): string | undefined {
  const asked = pathIn(env, 'HF_TOKEN_PATH');
  try {
    return readFileSync(asked ?? join(hubHome(env), 'token'), 'utf8');
  } catch (cause) {
    const isAbsent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    if (asked === undefined || isAbsent) return undefined;
    const option = 'HF_TOKEN_PATH (environment)';
    throw new LoraxError('OPTION_INVALID', { option, reason: 'names a file that cannot be read' }, { cause });
  }
}

/** An absolute path, with a home folder and other variables in it as Python allows them. */
function pathIn(env: Environment, name: string): string | undefined {
  const text = env[name];
  if (!text) return undefined;
  const expanded = text
    .replace(/^~(?=\/|$)/, () => homedir())
    .replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => env[plain ?? braced ?? ''] ?? whole);
  return resolve(expanded);
}

function isOn(env: Environment, name: string): boolean {
  const text = env[name];
  if (!text) return false;
  const result = toggle().schema.safeParse(text);
  if (result.success) return result.data;
  throw new LoraxError('OPTION_INVALID', { option: `${name} (environment)`, reason: 'must be true or false' });
}
