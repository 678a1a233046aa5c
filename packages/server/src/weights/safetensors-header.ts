/**
 * Parses and checks the JSON header of a safetensors file, as strictly as the format's reference implementation
 * (huggingface/safetensors, `Metadata::validate`): the tensors cover the data area exactly, in order, without holes.
 * Knows nothing about files and addresses.
 */
import { fileFault, shown } from './file-fault.ts';
import { isJsonObject, parseJsonObject, type JsonObject } from './strict-json.ts';
import { checkedElementCount, isLengthList } from './tensor-shape.ts';

export interface HeaderEntry {
  readonly name: string;
  /** As the header spells it; one of `DTYPE_BITS`. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Relative to the data area. */
  readonly begin: number;
  readonly end: number;
}

/** Every type of the format, with its size in bits: even tensors that nobody reads must fit their bytes. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ...['F4'].map((dtype) => [dtype, 4] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((dtype) => [dtype, 6] as const),
  ...['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map((d) => [d, 8] as const),
  ...['I16', 'U16', 'F16', 'BF16'].map((dtype) => [dtype, 16] as const),
  ...['I32', 'U32', 'F32'].map((dtype) => [dtype, 32] as const),
  ...['I64', 'U64', 'F64', 'C64'].map((dtype) => [dtype, 64] as const),
]);

/** More than the factors of every expert of the largest models; it bounds what a hostile header makes us build. */
const MAX_TENSORS = 100_000;

/** The entries in the order of their data, after checking that they cover `dataBytes` bytes exactly. */
export function parseSafetensorsHeader(path: string, json: Uint8Array, dataBytes: number): HeaderEntry[] {
  const entries: HeaderEntry[] = [];
  const described = Object.entries(parseHeaderObject(path, json));
  if (described.length > MAX_TENSORS) throw fileFault(path, `the header has more than ${MAX_TENSORS} tensors`);
  for (const [name, value] of described) {
    if (name !== '__metadata__') entries.push(headerEntry(path, name, value));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCover(path, entries, dataBytes);
  return entries;
}

function parseHeaderObject(path: string, json: Uint8Array): JsonObject {
  if (json[0] !== '{'.charCodeAt(0)) throw fileFault(path, 'the header does not begin with {');
  try {
    return parseJsonObject(json);
  } catch (cause) {
    throw fileFault(path, 'the header is not a valid JSON object with unique keys', cause);
  }
}

function headerEntry(path: string, name: string, value: unknown): HeaderEntry {
  const fault = (reason: string) => fileFault(path, `tensor ${shown(name)} ${reason}`);
  if (!isJsonObject(value)) throw fault('is not described by an object');
  const { dtype, shape, data_offsets: span } = value;
  if (typeof dtype !== 'string') throw fault('has no dtype');
  const bits = DTYPE_BITS.get(dtype);
  if (bits === undefined) throw fault(`has an unknown dtype ${shown(dtype)}`);
  if (!isLengthList(shape)) throw fault('has a shape that is not a list of non-negative integers');
  if (!isLengthList(span) || span.length !== 2) throw fault('has no pair of data offsets');
  const [begin, end] = span as [number, number];
  const elements = checkedElementCount(shape);
  if (elements === undefined || elements * bits !== (end - begin) * 8) {
    throw fault(`of type ${dtype} and shape [${shape.slice(0, 8).join(', ')}] does not fit its ${end - begin} bytes`);
  }
  return { name, dtype, shape, begin, end };
}

function checkCover(path: string, entries: readonly HeaderEntry[], dataBytes: number): void {
  let covered = 0;
  for (const { name, begin, end } of entries) {
    const where = begin > covered ? 'after a hole' : 'inside another tensor';
    if (begin !== covered) throw fileFault(path, `tensor ${shown(name)} begins ${where}`);
    covered = end;
  }
  if (covered !== dataBytes) {
    throw fileFault(path, `the tensors take ${covered} bytes, the file has ${dataBytes} after its header`);
  }
}
