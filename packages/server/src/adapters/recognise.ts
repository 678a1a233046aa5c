/**
 * Tells by the files of a folder which type of adapter it holds, and reads its configuration. Knows no source and nothing
 * of what the types mean: a new type is one more line here and its own files.
 */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJsonObject } from '../weights/strict-json.ts';
import type { AdapterConfig } from './adapter-config.ts';
import { adapterInvalid } from './adapter-invalid.ts';
import { LoraConfig } from './lora/lora-config.ts';
import { MedusaConfig } from './medusa/medusa-config.ts';
import { MedusaLoraConfig } from './medusa/medusa-lora-config.ts';

/** Configurations are a few KiB. */
const MAX_CONFIG_BYTES = 1 << 20;
const LORA_CONFIG = 'adapter_config.json';
const MODEL_CONFIG = 'config.json';

/** Throws ADAPTER_INVALID for folders that hold no adapter, and for configurations that cannot be used. */
export async function recogniseAdapter(folder: string, adapterId: string): Promise<AdapterConfig> {
  const loraBytes = await readConfig(folder, LORA_CONFIG, adapterId);
  const modelBytes = await readConfig(folder, MODEL_CONFIG, adapterId);
  const lora = loraBytes && LoraConfig.parse(loraBytes, adapterId);
  const medusa = modelBytes && hasMedusaHeads(modelBytes) ? MedusaConfig.parse(modelBytes, adapterId) : undefined;
  if (lora && medusa) return new MedusaLoraConfig(lora, medusa);
  const found = lora ?? medusa;
  if (found !== undefined) return found;
  if (modelBytes !== undefined)
    throw adapterInvalid(adapterId, `its ${MODEL_CONFIG} is not a Medusa adapter’s (a whole model is no adapter)`);
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
