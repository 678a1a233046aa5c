/** Seeded random numbers, so that every run of a test sees the same ones. Not for sampling tokens. */

const UINT32 = 2 ** 32;

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1): the generator mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / UINT32;
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  integers(count: number, below: number): number[] {
    return Array.from({ length: count }, () => this.integer(below));
  }

  /** Normally distributed values, rounded to float32. */
  normals(count: number, mean: number, deviation: number): Float32Array {
    return Float32Array.from({ length: count }, () => mean + deviation * this.#normal());
  }

  /** Box-Muller; 1 - next() is never 0. */
  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}
