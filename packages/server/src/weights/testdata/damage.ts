/** Damaged copies of a valid file for property tests: bytes changed, pieces removed or repeated, the end cut off. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import type { TensorFile, TensorView } from '../tensor-view.ts';
import { isFiniteTensor, readFloats } from '../values.ts';

type Change = (bytes: Buffer) => Buffer;

/** Positions lean to both ends, where formats keep their numbers; values to those that overflow. */
export function damaged(original: Buffer): fc.Arbitrary<Buffer> {
  const position = fc.oneof(
    fc.nat(original.length - 1),
    fc.nat(Math.min(200, original.length - 1)),
    fc.nat(Math.min(400, original.length - 1)).map((fromEnd) => original.length - 1 - fromEnd),
  );
  const value = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
  const edit = fc.tuple(position, fc.array(value, { minLength: 1, maxLength: 8 })).map(([at, values]): Change => {
    return (bytes) => Buffer.concat([bytes.subarray(0, at), Buffer.from(values), bytes.subarray(at + values.length)]);
  });
  const move = fc.tuple(position, position, position).map(([from, to, at]): Change => {
    return (bytes) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, to), bytes.subarray(at)]);
  });
  const cut = position.map((at): Change => (bytes) => bytes.subarray(0, at));
  const changes = fc.oneof({ weight: 8, arbitrary: edit }, move, cut);
  return fc
    .array(changes, { minLength: 1, maxLength: 3 })
    .map((list) => list.reduce((bytes, change) => change(bytes), original));
}

/** Opens the file and reads every element of every tensor, or is told `FILE_INVALID`; anything else is a failure. */
export function readAllOrFault(open: () => TensorFile): void {
  const file: TensorFile | undefined = untilFault(open);
  if (file === undefined) return;
  for (const name of file.names) {
    const view: TensorView | undefined = untilFault((): TensorView | undefined => file.get(name));
    if (view !== undefined) assert.equal(readFloats(view).every(Number.isFinite), isFiniteTensor(view));
  }
  file.dispose();
}

function untilFault<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof LoraxError && error.code === 'FILE_INVALID') return undefined;
    throw error;
  }
}
