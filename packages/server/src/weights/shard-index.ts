/**
 * Reads `*.safetensors.index.json`: which shard holds which tensor. Knows nothing about the shards' contents.
 * Form: `{ "metadata": {...}, "weight_map": { "<tensor>": "<shard file>" } }`, as transformers and PEFT write it.
 */
import { MappedFile } from '../native/mapped-file.ts';
import { fileFault, shown } from './file-fault.ts';
import { isJsonObject, parseJsonObject } from './strict-json.ts';

/** Larger than the index of any model; it bounds what a hostile one makes us parse. */
const MAX_INDEX_BYTES = 100_000_000;

/** A file's own name. Separators, drive letters and parent folders would lead out of the model's folder. */
const PLAIN_NAME = /^[^/\\:\0]+\.safetensors$/;

/** Tensor name to shard file name, every one of which lies directly in the index's folder. */
export function readShardIndex(path: string): ReadonlyMap<string, string> {
  const weightMap = readWeightMap(path);
  if (!isJsonObject(weightMap)) throw fileFault(path, 'there is no weight_map object');
  const shardByTensor = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string') throw fileFault(path, `tensor ${shown(name)} is mapped to no file name`);
    if (!PLAIN_NAME.test(shard)) throw fileFault(path, `${shown(shard)} is not the plain name of a safetensors file`);
    shardByTensor.set(name, shard);
  }
  if (shardByTensor.size === 0) throw fileFault(path, 'the weight_map is empty');
  return shardByTensor;
}

function readWeightMap(path: string): unknown {
  const file = MappedFile.open(path);
  try {
    if (file.byteLength > MAX_INDEX_BYTES) throw fileFault(path, `larger than ${MAX_INDEX_BYTES} bytes`);
    return parseIndex(path, file.bytes(0, file.byteLength)).weight_map;
  } finally {
    file.dispose();
  }
}

function parseIndex(path: string, json: Uint8Array): { readonly weight_map?: unknown } {
  try {
    return parseJsonObject(json);
  } catch (cause) {
    throw fileFault(path, 'not a valid JSON object with unique keys', cause);
  }
}
