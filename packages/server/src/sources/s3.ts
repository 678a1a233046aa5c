/**
 * S3 buckets as a source. Requests bring no keys: whoever may use the server may read what its operator's key reads, so that
 * key should open adapters alone. Says again at every `locate` what a prefix holds.
 */

import { LoraxError } from '../base/errors.ts';
import { DEFAULT_RETRIES, type RetryPolicy } from './retry.ts';
import { type S3Name, S3Folders, type S3FoldersOptions } from './s3-folders.ts';
import { parseS3Id, type S3Defaults, s3IdOf } from './s3-place.ts';
import type { AdapterLocation, LocateOptions, Source } from './source.ts';

export interface S3Options extends Omit<S3FoldersOptions, 'retries'>, S3Defaults {
  readonly retries?: RetryPolicy;
}

export interface S3Source extends Source {
  /** Undefined where ids have to begin with their bucket. */
  readonly modelBucket: string | undefined;
  /** As `locate`, under the name that another source has for the place. Throws VALIDATION where `path` is none. */
  locateFor(path: string, name: S3Name, signal: AbortSignal): Promise<AdapterLocation>;
}

/**
 * Asks nobody and loads no SDK before the first adapter is wanted. Throws OPTION_INVALID where the bucket or the folder of
 * ids without one can be none.
 */
export function openS3({ retries = DEFAULT_RETRIES, ...options }: S3Options): S3Source {
  checkDefaults(options);
  const folders = new S3Folders({ ...options, retries });
  const locate = async (id: string, { signal }: LocateOptions): Promise<AdapterLocation> => {
    signal.throwIfAborted();
    const place = parseS3Id(id, options);
    return folders.locate(place, { source: 's3', id: s3IdOf(place, options) }, signal);
  };
  return {
    name: 's3',
    modelBucket: options.modelBucket,
    locate,
    locateFor: async (path, name, signal) => folders.locate(parseS3Id(path, options), name, signal),
    list: async () => [],
  };
}

function checkDefaults(defaults: S3Defaults): void {
  if (defaults.modelBucket === undefined) return;
  try {
    parseS3Id('name', defaults);
  } catch (cause) {
    const option = 'PREDIBASE_MODEL_BUCKET or PREDIBASE_MODEL_FOLDER';
    throw new LoraxError('OPTION_INVALID', { option, reason: 'is no bucket or no folder in one' }, { cause });
  }
}
