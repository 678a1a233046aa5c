/** Writes float32 values in the types that files and devices hold, rounding to the nearest and ties to even. */

import type { Dtype } from './tensor-view.ts';

/** Little-endian bytes of the values as `dtype`. */
export function narrowFloats(values: Float32Array, dtype: Dtype): Uint8Array {
  const bits = new Uint32Array(values.slice().buffer);
  if (dtype === 'float32') return new Uint8Array(bits.buffer);
  return new Uint8Array(Uint16Array.from(bits, dtype === 'bfloat16' ? toBfloat16 : toFloat16).buffer);
}

/** The values as they come back from a file that holds them as `dtype`. */
export function roundFloats(values: Float32Array, dtype: Dtype): Float32Array {
  if (dtype === 'float32') return values.slice();
  if (dtype === 'float16') {
    const halves = new Uint16Array(narrowFloats(values, dtype).buffer);
    return Float32Array.from(halves, fromFloat16);
  }
  const bits = new Uint32Array(values.slice().buffer);
  return new Float32Array(bits.map((word) => toBfloat16(word) << 16).buffer);
}

function toBfloat16(word: number): number {
  if (isNaNWord(word)) return ((word >>> 16) & 0x8000) | 0x7fc0;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** Exponent bias 15 against float32's 127, 10 fraction bits against 23; below 2^-14 with fewer. */
function toFloat16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fff_ffff;
  if (isNaNWord(word)) return sign | 0x7e00;
  const exponent = (magnitude >>> 23) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent < -10) return sign;
  const shift = exponent > 0 ? 13 : 14 - exponent;
  const fraction = exponent > 0 ? magnitude - (112 << 23) : (magnitude & 0x7f_ffff) | 0x80_0000;
  const kept = fraction >>> shift;
  const rest = fraction - kept * 2 ** shift;
  const half = 2 ** (shift - 1);
  // A carry out of the fraction moves on into the exponent, which is the rounding that is wanted.
  return sign | (kept + (rest > half || (rest === half && kept % 2 === 1) ? 1 : 0));
}

function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function isNaNWord(word: number): boolean {
  return (word & 0x7fff_ffff) > 0x7f80_0000;
}
