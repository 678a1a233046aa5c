/** Finds the base model that the operator named: a folder on this machine, or a repository on the Hub. */

import type { Stats } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import { errorCode } from './containment.ts';
import { parseHubId } from './hub-id.ts';
import type { Hub, ResolvedModel } from './hub.ts';
import type { FetchOptions } from './source.ts';

export interface ModelOptions extends FetchOptions {
  readonly hub: Hub;
  /** `--revision`; for Hub models that name none themselves. */
  readonly revision?: string | undefined;
}

/**
 * An existing folder with a config.json wins over a repository of the same name. Rejects with MODEL_NOT_FOUND, which says
 * what both ways came to, or MODEL_INVALID.
 */
export async function resolveModel(
  modelId: string,
  { hub, revision, ...options }: ModelOptions,
): Promise<ResolvedModel> {
  options.signal.throwIfAborted();
  // An empty name would mean the current folder.
  if (modelId !== '' && (await found(join(modelId, 'config.json')))?.isFile() === true) {
    return { id: modelId, folder: await realpath(modelId), revision: undefined };
  }
  const asFolder =
    (await found(modelId)) !== undefined
      ? 'the folder of this name holds no config.json'
      : 'there is no folder of this name';
  const id = parseHubId(modelId, revision);
  if (id === undefined) {
    const reason = `${asFolder}, and it is no Hub repository id either (org/name or org/name@revision)`;
    throw new LoraxError('MODEL_NOT_FOUND', { modelId, reason });
  }
  try {
    return await hub.fetchModel(id.repo, id.revision, options);
  } catch (error) {
    if (!(error instanceof LoraxError) || error.code !== 'MODEL_NOT_FOUND') throw error;
    const reason = `${asFolder}, and as a Hub repository: ${error.params['reason'] ?? 'not found'}`;
    throw new LoraxError('MODEL_NOT_FOUND', { modelId, reason }, { cause: error });
  }
}

async function found(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(errorCode(error))) return undefined;
    throw error;
  }
}
