/**
 * Finds and opens the weights in a model's or adapter's folder, one file or many. Knows the file names of the field,
 * not what the tensors mean. Links inside the folder are followed (the Hub's cache consists of them): whoever takes
 * folders from callers checks where those lead.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileFault, shown } from './file-fault.ts';
import { openSafetensors } from './safetensors.ts';
import { readShardIndex } from './shard-index.ts';
import { ShardedTensors } from './sharded-tensors.ts';
import type { TensorFile } from './tensor-view.ts';
import { openTorchArchive } from './torch-archive.ts';

const HEAD_FILE = 'medusa_lm_head.safetensors';
const LORA_FILE = /^adapter_model.*\.safetensors$/;
const NUMBERED_SHARD = /^adapter_model-(\d{5})-of-(\d{5})\.safetensors$/;

/** A base model's: `model.safetensors`, its shards, or the only safetensors file there is. */
export function openModelTensors(folder: string): TensorFile {
  const names = listFiles(folder);
  const found = openNamed(folder, names, 'model');
  if (found !== undefined) return found;
  const candidates = names.filter((name) => name.endsWith('.safetensors'));
  const [only] = candidates;
  if (only === undefined) throw fileFault(folder, 'the folder has no *.safetensors file');
  if (candidates.length > 1) {
    throw fileFault(
      folder,
      `the folder has ${candidates.length} *.safetensors files and no model.safetensors.index.json`,
    );
  }
  return openSafetensors(join(folder, only));
}

/** A PEFT adapter's: `adapter_model.safetensors`, its shards, or else `adapter_model.bin`. */
export function openAdapterTensors(folder: string): TensorFile {
  const names = listFiles(folder);
  const found = openNamed(folder, names, 'adapter_model') ?? openNumberedShards(folder, names);
  if (found !== undefined) return found;
  if (names.includes('adapter_model.bin')) return openTorchArchive(join(folder, 'adapter_model.bin'));
  throw fileFault(folder, 'the folder has neither adapter_model.safetensors nor adapter_model.bin');
}

/** Draft heads': `medusa_lm_head.safetensors`, any other safetensors files at the root, or `medusa_lm_head.pt`. */
export function openHeadTensors(folder: string): TensorFile {
  const names = listFiles(folder);
  const found = headFiles(names);
  if (found.length > 0) return openShards(folder, found);
  if (names.includes('medusa_lm_head.pt')) return openTorchArchive(join(folder, 'medusa_lm_head.pt'));
  throw fileFault(folder, 'the folder has neither *.safetensors nor medusa_lm_head.pt');
}

/** Those of LoRA and of draft heads in one folder, in files of their own or together. */
export function openLoraAndHeadTensors(folder: string): TensorFile {
  const names = listFiles(folder);
  const lora = names.filter((name) => LORA_FILE.test(name));
  const found = [...new Set([...lora, ...headFiles(names)])].sort();
  if (found.length === 0) throw fileFault(folder, 'the folder has no *.safetensors file');
  return openShards(folder, found);
}

/** Without a file of the usual name, every safetensors file may hold heads. */
function headFiles(names: readonly string[]): readonly string[] {
  if (names.includes(HEAD_FILE)) return [HEAD_FILE];
  return names.filter((name) => name.endsWith('.safetensors')).sort();
}

function openNamed(folder: string, names: readonly string[], stem: string): TensorFile | undefined {
  const single = `${stem}.safetensors`;
  if (names.includes(single)) return openSafetensors(join(folder, single));
  const index = `${stem}.safetensors.index.json`;
  return names.includes(index) ? openIndexed(folder, index) : undefined;
}

function openIndexed(folder: string, index: string): TensorFile {
  const path = join(folder, index);
  const shardByTensor = readShardIndex(path);
  const shards = [...new Set(shardByTensor.values())];
  const missing = shards.find((shard) => !existsSync(join(folder, shard)));
  if (missing !== undefined) throw fileFault(path, `the shard ${shown(missing)} is missing`);
  const tensors = openShards(folder, shards);
  const present = new Set(tensors.names);
  for (const [name, shard] of shardByTensor) {
    if (present.has(name)) continue;
    tensors.dispose();
    throw fileFault(path, `tensor ${shown(name)} is missing from ${shown(shard)}`);
  }
  return tensors;
}

/** Without an index the names themselves say how many there must be. */
function openNumberedShards(folder: string, names: readonly string[]): TensorFile | undefined {
  const shards = names.filter((name) => NUMBERED_SHARD.test(name)).sort();
  const [first] = shards;
  if (first === undefined) return undefined;
  const total = NUMBERED_SHARD.exec(first)?.[2] ?? '';
  const expected = Array.from({ length: shards.length }, (_, i) => {
    return `adapter_model-${String(i + 1).padStart(5, '0')}-of-${total}.safetensors`;
  });
  const complete = Number(total) === shards.length && expected.every((name, i) => name === shards[i]);
  if (!complete)
    throw fileFault(folder, `the folder has ${shards.length} of the ${Number(total)} shards of its adapter`);
  return openShards(folder, shards);
}

function openShards(folder: string, shards: readonly string[]): TensorFile {
  const paths = shards.map((shard) => join(folder, shard));
  return ShardedTensors.open(paths, openSafetensors);
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    throw fileFault(folder, 'the folder cannot be read', cause);
  }
}
