/**
 * Opens a safetensors file as mapped tensors. Layout: header length (8 bytes, little-endian), JSON header, tensor data.
 * Format: https://github.com/huggingface/safetensors#format. Knows nothing about folders and shards.
 */
import { MappedFile } from '../native/mapped-file.ts';
import { fileFault } from './file-fault.ts';
import { parseSafetensorsHeader, type HeaderEntry } from './safetensors-header.ts';
import { StoredTensors, type UnreadableTensor } from './stored-tensors.ts';
import { rowMajorStrides, type Dtype, type TensorFile, type TensorView } from './tensor-view.ts';

/** Room for 100 000 tensors. It is parsed between two steps: the reference implementation's 100 MB would take seconds. */
const MAX_HEADER_BYTES = 16 << 20;
const LENGTH_BYTES = 8;

const READABLE: ReadonlyMap<string, Dtype> = new Map([
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
]);

/** Throws `FILE_INVALID` unless the whole file is as the format demands. */
export function openSafetensors(path: string): TensorFile {
  const file = MappedFile.open(path);
  try {
    const headerBytes = headerLength(path, file);
    const dataOffset = LENGTH_BYTES + headerBytes;
    const dataBytes = file.byteLength - dataOffset;
    const entries = parseSafetensorsHeader(path, file.bytes(LENGTH_BYTES, headerBytes), dataBytes);
    const data = file.address + BigInt(dataOffset);
    const tensors = new Map(entries.map((entry) => [entry.name, tensorAt(entry, data)]));
    return new StoredTensors(path, tensors, dataBytes, file);
  } catch (error) {
    file.dispose();
    throw error;
  }
}

function headerLength(path: string, file: MappedFile): number {
  if (file.byteLength < LENGTH_BYTES) throw fileFault(path, 'too short to be a safetensors file');
  const prefix = file.bytes(0, LENGTH_BYTES);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) throw fileFault(path, `the header is larger than ${MAX_HEADER_BYTES} bytes`);
  if (length > file.byteLength - LENGTH_BYTES) throw fileFault(path, 'the header is longer than the file');
  return Number(length);
}

function tensorAt({ name, dtype, shape, begin }: HeaderEntry, data: bigint): TensorView | UnreadableTensor {
  const readable = READABLE.get(dtype);
  if (readable === undefined) return { name, storedDtype: dtype };
  return { name, dtype: readable, shape, strides: rowMajorStrides(shape), address: data + BigInt(begin) };
}
