/** Tells an adapter from a whole model by the files in a folder. Knows nothing about what the configuration says otherwise. */

import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import { adapterFault } from './repo-files.ts';

/** A config.json is a few KiB; more is not read just to look for one key. */
const MAX_CONFIG_BYTES = 1 << 20;

/** Throws ADAPTER_INVALID unless the folder holds an adapter's configuration and weights. */
export async function checkAdapterFolder(folder: string, adapterId: string): Promise<void> {
  const names = await readdir(folder);
  const reason = adapterFault(names);
  if (reason !== undefined) throw new LoraxError('ADAPTER_INVALID', { adapterId, reason });
  if (!names.includes('adapter_config.json')) await checkMedusaConfig(join(folder, 'config.json'), adapterId);
}

/** Throws ADAPTER_INVALID unless this config.json is a Medusa adapter's: the only ones without adapter_config.json. */
export async function checkMedusaConfig(path: string, adapterId: string): Promise<void> {
  const text = await readBounded(path, MAX_CONFIG_BYTES);
  if (hasMedusaHeads(text)) return;
  const reason =
    'it holds no adapter_config.json, and its config.json is not a Medusa adapter’s (a whole model is no adapter)';
  throw new LoraxError('ADAPTER_INVALID', { adapterId, reason });
}

function hasMedusaHeads(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'medusa_num_heads' in value;
  } catch {
    // Not JSON, so not a Medusa configuration either; the caller names both files.
    return false;
  }
}

async function readBounded(path: string, limitBytes: number): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(limitBytes), 0, limitBytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
