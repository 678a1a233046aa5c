/**
 * Tells by the files of a folder which type of adapter it holds, and hands over its configuration. Knows no source and
 * nothing of what the types mean: a new type is one more line here and its own files.
 */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJsonObject } from '../weights/strict-json.ts';
import { adapterInvalid } from './adapter-invalid.ts';

/** A recognised adapter and the bytes of its configuration file. */
export interface AdapterKind {
  readonly type: 'lora';
  readonly configBytes: Uint8Array;
}

/** Configurations are a few KiB. */
const MAX_CONFIG_BYTES = 1 << 20;
const LORA_CONFIG = 'adapter_config.json';
const MODEL_CONFIG = 'config.json';

/** Throws ADAPTER_INVALID for folders that hold no adapter, or one of a type that is not served. */
export async function recogniseAdapter(folder: string, adapterId: string): Promise<AdapterKind> {
  const configBytes = await readConfig(folder, LORA_CONFIG, adapterId);
  const modelConfig = await readConfig(folder, MODEL_CONFIG, adapterId);
  if (modelConfig !== undefined && hasMedusaHeads(modelConfig)) {
    const what = configBytes === undefined ? 'a Medusa adapter' : 'a Medusa adapter with LoRA';
    throw adapterInvalid(adapterId, `it is ${what}, which this version does not serve`);
  }
  if (configBytes !== undefined) return { type: 'lora', configBytes };
  if (modelConfig !== undefined) throw adapterInvalid(adapterId, 'it is a whole model, not an adapter');
  throw adapterInvalid(adapterId, `it has neither ${LORA_CONFIG} nor a Medusa ${MODEL_CONFIG}`);
}

/** What else a config.json may hold is its reader's matter; one that cannot be read has no Medusa heads. */
function hasMedusaHeads(bytes: Uint8Array): boolean {
  try {
    return 'medusa_num_heads' in parseJsonObject(bytes);
  } catch {
    return false;
  }
}

async function readConfig(folder: string, file: string, adapterId: string): Promise<Uint8Array | undefined> {
  // A pipe in the file's place would otherwise keep the open waiting for its other end.
  const handle = await open(join(folder, file), constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw adapterInvalid(adapterId, `${file} cannot be read`, { cause: error });
  });
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw adapterInvalid(adapterId, `${file} is not a file`);
    if (stat.size > MAX_CONFIG_BYTES)
      throw adapterInvalid(adapterId, `${file} is larger than ${MAX_CONFIG_BYTES} bytes`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
