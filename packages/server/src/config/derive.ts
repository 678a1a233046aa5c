/** From values that are each right by themselves to options that fit each other, with everything derived filled in. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import { clashOf } from './access-keys.ts';
import { coresAllowed } from './cores.ts';
import { cacheHome, hubCacheFolder, hubSettings } from './hub-settings.ts';
import { OPTIONS, type GivenOptions, type ServeOptions } from './options.ts';
import { pbaseSettings } from './pbase-settings.ts';
import { s3Settings } from './s3-settings.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A command that only describes the machine needs no model. */
export interface Needs {
  readonly model: boolean;
}

/** Throws `OPTION_INVALID` naming the flag that does not fit. */
export function deriveOptions(given: GivenOptions, env: Environment, needs: Needs): ServeOptions {
  checkModel(given, needs);
  checkLimits(given);
  checkMerge(given);
  checkCors(given);
  checkKeys(given);
  const adapterSource =
    given.adapterSource ?? (given.demo || given.adapterRoot !== undefined ? ('local' as const) : ('hub' as const));
  return Object.freeze({
    ...given,
    ...splitRevision(given),
    ...hubSettings(env),
    s3: s3Settings(env),
    pbase: pbaseSettings(env),
    cores: coresAllowed(),
    adapterSource,
    defaultAdapterSource: given.defaultAdapterSource ?? adapterSource,
    preloadedAdapterSource: given.preloadedAdapterSource ?? adapterSource,
    huggingfaceHubCache: given.huggingfaceHubCache ?? hubCacheFolder(env),
    speculationMaxBatchSize: given.speculationMaxBatchSize ?? loraxMaxBatchSize(env),
    kernelCacheFolder: join(cacheHome(env), 'lorax', 'kernels'),
  });
}

/** LoRAX's launcher hands the option to its server under this name, and some set it directly. */
function loraxMaxBatchSize(env: Environment): number | undefined {
  const name = 'LORAX_SPECULATION_MAX_BATCH_SIZE';
  if (!env[name]) return undefined;
  const parsed = OPTIONS.speculationMaxBatchSize.schema.safeParse(env[name]);
  if (parsed.success) return parsed.data;
  throw new LoraxError('OPTION_INVALID', { option: `${name} (environment)`, reason: parsed.error.issues[0]!.message });
}

function checkModel({ modelId, revision, demo }: GivenOptions, needs: Needs): void {
  if (demo && modelId !== undefined) refuse('--demo', `serves the bundled model; leave out --model-id (${modelId})`);
  if (demo && revision !== undefined) refuse('--revision', 'the bundled model of --demo has no revisions');
  if (needs.model && !demo && modelId === undefined) {
    refuse('--model-id', 'is required; name a folder or a Hub id, or use --demo for the bundled model');
  }
}

function checkLimits({ maxInputLength, maxTotalTokens, maxBatchTotalTokens }: GivenOptions): void {
  if (maxInputLength !== undefined && maxTotalTokens !== undefined && maxInputLength >= maxTotalTokens) {
    refuse('--max-input-length', `${maxInputLength} must be less than --max-total-tokens, ${maxTotalTokens}`);
  }
  if (maxTotalTokens !== undefined && maxBatchTotalTokens !== undefined && maxTotalTokens > maxBatchTotalTokens) {
    refuse('--max-total-tokens', `${maxTotalTokens} is more than --max-batch-total-tokens, ${maxBatchTotalTokens}`);
  }
}

function checkMerge({ mergeAdapterWeights, adapterId, preloadedAdapterIds }: GivenOptions): void {
  if (!mergeAdapterWeights) return;
  if (adapterId === undefined) refuse('--merge-adapter-weights', 'needs --adapter-id');
  if (preloadedAdapterIds.length > 0) {
    refuse('--preloaded-adapter-ids', 'no adapter fits a base that --merge-adapter-weights changes');
  }
}

/** Credentials for pages of any origin would let every page on the web act as its reader. */
function checkCors({ corsAllowCredentials, corsAllowOrigin }: GivenOptions): void {
  if (corsAllowCredentials && corsAllowOrigin.includes('*')) {
    refuse('--cors-allow-credentials', 'needs --cors-allow-origin with the origins by name');
  }
}

/** A key in both lists would leave open what its holders may do. */
function checkKeys({ apiKey, adminKey }: GivenOptions): void {
  const clash = clashOf([...apiKey, ...adminKey]);
  if (clash !== undefined) refuse('--admin-key', `${clash}, here and in --api-key`);
}

/** LoRAX's `id@revision`. A folder that has an @ in its name stays a folder. */
function splitRevision({ modelId, revision }: GivenOptions): Pick<ServeOptions, 'modelId' | 'revision'> {
  const [, id, suffix] = /^([\w.-]+(?:\/[\w.-]+)?)@(.+)$/.exec(modelId ?? '') ?? [];
  if (modelId === undefined || id === undefined || suffix === undefined || existsSync(modelId)) {
    return { modelId, revision };
  }
  if (revision !== undefined) refuse('--revision', `--model-id already asks for the revision ${suffix}`);
  return { modelId: id, revision: suffix };
}

function refuse(option: string, reason: string): never {
  throw new LoraxError('OPTION_INVALID', { option, reason });
}
