/**
 * Places spans of neighbouring units in a fixed range: first fit, gaps merged on return.
 * Knows nothing about what a unit is (a KV cell, a rank row).
 */

import { assert } from './assert.ts';

interface Gap {
  start: number;
  length: number;
}

export class SpanAllocator {
  readonly capacity: number;
  /** Sorted by start, never empty, never touching. */
  #gaps: Gap[];
  #used = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#gaps = capacity > 0 ? [{ start: 0, length: capacity }] : [];
  }

  get used(): number {
    return this.#used;
  }

  /** Length of the longest span that `take` could give. */
  get largestGap(): number {
    return this.#gaps.reduce((largest, gap) => Math.max(largest, gap.length), 0);
  }

  /** Start of a span of `length` units, or undefined where none fits. */
  take(length: number): number | undefined {
    assert(length > 0, 'a span has at least one unit');
    const i = this.#gaps.findIndex((gap) => gap.length >= length);
    const gap = this.#gaps[i];
    if (gap === undefined) return undefined;
    const { start } = gap;
    if (gap.length === length) this.#gaps.splice(i, 1);
    else this.#gaps[i] = { start: start + length, length: gap.length - length };
    this.#used += length;
    return start;
  }

  /** Returns a span, or the part of one, that `take` gave. */
  give(start: number, length: number): void {
    const after = this.#gaps.findIndex((gap) => gap.start > start);
    const i = after < 0 ? this.#gaps.length : after;
    this.#gaps.splice(i, 0, { start, length });
    this.#used -= length;
    this.#mergeWithNext(i);
    if (i > 0) this.#mergeWithNext(i - 1);
  }

  /** Throws if gaps overlap, touch, leave the range or disagree with the count of used units. */
  checkIntegrity(): void {
    let end = -1;
    let free = 0;
    for (const gap of this.#gaps) {
      assert(gap.length > 0 && gap.start > end, 'gaps overlap or touch');
      end = gap.start + gap.length;
      free += gap.length;
    }
    assert(end <= this.capacity && free + this.#used === this.capacity, 'gaps and used units do not add up');
  }

  #mergeWithNext(i: number): void {
    const gap = this.#gaps[i];
    const next = this.#gaps[i + 1];
    if (gap === undefined || next === undefined || gap.start + gap.length < next.start) return;
    assert(gap.start + gap.length === next.start, 'a span was returned twice');
    this.#gaps.splice(i, 2, { start: gap.start, length: gap.length + next.length });
  }
}
