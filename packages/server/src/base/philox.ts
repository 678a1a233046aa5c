/**
 * Random numbers addressed by (seed, position): Philox4x32-10 of Salmon et al. (2011), a counter-based generator. It has
 * no state, so a number depends neither on the batch, nor on drafts that were tried before, nor on a restart.
 */

const ROUNDS = 10;

/** A double in [0, 1) with 53 random bits. `seed` is unsigned 64-bit, `position` a safe integer. */
export function uniformAt(seed: bigint, position: number): number {
  const counter = [position >>> 0, Math.floor(position / 2 ** 32), 0, 0] as const;
  const key = [Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn)] as const;
  const [high, low] = philox4x32(counter, key);
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
}

export type Words4 = readonly [number, number, number, number];

/** The block function over unsigned 32-bit words, as in the Random123 library. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of an unsigned 32 x 32 bit product; every intermediate stays below 2^53. */
function multiplyHigh(a: number, b: number): number {
  const factor = b >>> 0;
  const low = (a & 0xffff) * factor;
  const high = (a >>> 16) * factor;
  return Math.floor((high + Math.floor(low / 2 ** 16)) / 2 ** 16);
}
