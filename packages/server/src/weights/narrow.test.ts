import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { narrowFloats, roundFloats } from './narrow.ts';
import { ownFloats } from './owned-tensor.ts';
import type { Dtype, TensorView } from './tensor-view.ts';
import { readFloats } from './values.ts';
import { addressOf } from '../native/ffi.ts';

/** As a file of this type is read. */
function reread(values: Float32Array, dtype: Dtype): Float32Array {
  const { buffer } = narrowFloats(values, dtype);
  const view: TensorView = {
    ...ownFloats('values', [values.length], values),
    dtype,
    address: addressOf(buffer as ArrayBuffer),
  };
  return readFloats(view);
}

const narrow = ['float16', 'bfloat16'] as const;
const anyFloats = fc.float32Array({ minLength: 1, maxLength: 8 });

describe('narrow floats', () => {
  it('rounded values are those that a file gives back, and stay as they are', () => {
    fc.assert(
      fc.property(anyFloats, fc.constantFrom(...narrow, 'float32' as const), (values, dtype) => {
        const rounded = roundFloats(values, dtype);
        assert.deepEqual(rounded, reread(values, dtype));
        assert.deepEqual(roundFloats(rounded, dtype), rounded);
      }),
    );
  });

  it('no other value of the type is nearer', () => {
    const distinct = fc.float({ min: -60_000, max: 60_000, noNaN: true });
    fc.assert(
      fc.property(distinct, fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(...narrow), (value, bits, dtype) => {
        const [rounded] = roundFloats(Float32Array.of(value), dtype);
        const view = { ...ownFloats('bits', [1], Float32Array.of(0)), dtype };
        const buffer = new ArrayBuffer(2);
        new Uint16Array(buffer)[0] = bits;
        const [other] = readFloats({ ...view, address: addressOf(buffer) });
        if (Number.isFinite(other)) assert.ok(Math.abs(rounded! - value) <= Math.abs(other! - value));
      }),
    );
  });

  it('ties go to the even neighbour', () => {
    assert.deepEqual(
      roundFloats(Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8), 'bfloat16'),
      Float32Array.of(1, 1 + 2 ** -6),
    );
    assert.deepEqual(
      roundFloats(Float32Array.of(1 + 2 ** -11, 2 ** -25, 3 * 2 ** -25), 'float16'),
      Float32Array.of(1, 0, 2 ** -23),
    );
  });

  it('what is too large becomes infinite, and NaN stays NaN', () => {
    assert.deepEqual(
      roundFloats(Float32Array.of(65_520, -1e30, NaN), 'float16'),
      Float32Array.of(Infinity, -Infinity, NaN),
    );
    assert.deepEqual(roundFloats(Float32Array.of(3.4e38, NaN), 'bfloat16'), Float32Array.of(Infinity, NaN));
  });
});
