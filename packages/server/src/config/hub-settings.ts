/** What the environment says about the Hub: the variables that its Python client reads, so that both behave alike. */

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
}

/** For the reference page. */
export const HUB_VARIABLES: Readonly<Record<string, string>> = {
  HF_TOKEN: 'Token for the base model; also HUGGING_FACE_HUB_TOKEN and HF_API_TOKEN, as LoRAX had it',
  HF_ENDPOINT: 'Address of another Hub than the public one',
  HF_HUB_OFFLINE: 'Use what the cache holds and ask nobody',
};

export function hubSettings(env: Environment): HubSettings {
  return {
    hubEndpoint: env['HF_ENDPOINT'] || undefined,
    hubOffline: env['HF_HUB_OFFLINE'] ? switchIn('HF_HUB_OFFLINE', env['HF_HUB_OFFLINE']) : false,
    hubToken: env['HF_TOKEN'] || env['HUGGING_FACE_HUB_TOKEN'] || env['HF_API_TOKEN'] || undefined,
  };
}

/** Where the Hub's Python client keeps its cache. */
export function hubCacheFolder(env: Environment): string {
  if (env['HF_HUB_CACHE']) return resolve(env['HF_HUB_CACHE']);
  if (env['HF_HOME']) return resolve(env['HF_HOME'], 'hub');
  const cache = env['XDG_CACHE_HOME'] ? resolve(env['XDG_CACHE_HOME']) : join(homedir(), '.cache');
  return join(cache, 'huggingface', 'hub');
}

function switchIn(name: string, text: string): boolean {
  const result = toggle().schema.safeParse(text);
  if (result.success) return result.data;
  throw new LoraxError('OPTION_INVALID', { option: `${name} (environment)`, reason: 'must be true or false' });
}
