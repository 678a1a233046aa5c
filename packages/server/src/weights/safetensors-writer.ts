/** Writes safetensors files tensor by tensor, never holding more than one chunk: random models for benchmarks and tests. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { assert } from '../base/assert.ts';
import { DTYPE_BYTES, elementCount, type Dtype } from './tensor-view.ts';

export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major, little-endian; as a function where the tensor is too large to hold: called once, chunks of any size. */
  readonly bytes: Uint8Array | (() => Iterable<Uint8Array>);
}

const DTYPE_NAMES: Readonly<Record<Dtype, string>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** Replaces the file at `path`. Wide types come first, which aligns every tensor to its own element size. */
export function writeSafetensors(path: string, tensors: Iterable<TensorToWrite>): void {
  const ordered = [...tensors].sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  const fd = openSync(path, 'w');
  try {
    writeAll(fd, header(ordered));
    for (const tensor of ordered) writeTensor(fd, tensor);
  } finally {
    closeSync(fd);
  }
}

function header(tensors: readonly TensorToWrite[]): Uint8Array {
  const entries: [string, unknown][] = [];
  let end = 0;
  for (const tensor of tensors) {
    const begin = end;
    end += dataBytes(tensor);
    entries.push([tensor.name, { dtype: DTYPE_NAMES[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] }]);
  }
  assert(new Set(entries.map(([name]) => name)).size === entries.length, 'tensor names are unique');
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  // The format lets spaces follow the JSON; they align the data.
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

function writeTensor(fd: number, tensor: TensorToWrite): void {
  let written = 0;
  for (const chunk of typeof tensor.bytes === 'function' ? tensor.bytes() : [tensor.bytes]) {
    writeAll(fd, chunk);
    written += chunk.length;
  }
  assert(written === dataBytes(tensor), `tensor ${tensor.name} has the bytes of its shape`);
}

function dataBytes({ dtype, shape }: TensorToWrite): number {
  return elementCount(shape) * DTYPE_BYTES[dtype];
}

/** The system may take a part only. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}
