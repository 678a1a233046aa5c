/**
 * Finds the n best of a row of scores without sorting it: a heap of the best so far, its root the worst of them. For the
 * usual n of some dozens nearly every score costs one comparison with that root.
 */

export class BestSelector {
  readonly #heap: Int32Array;

  constructor(capacity: number) {
    this.#heap = new Int32Array(capacity);
  }

  /**
   * Positions of the `wanted` best among the first `count` scores (1 <= wanted <= count); among equals the first count as
   * better. The worst of them comes first, the others in no order. Valid until the next call.
   */
  select(scores: Float32Array, count: number, wanted: number): Int32Array {
    const heap = this.#heap.subarray(0, wanted);
    for (let i = 0; i < wanted; i++) heap[i] = i;
    for (let i = (wanted >> 1) - 1; i >= 0; i--) siftDown(heap, scores, i);
    let worst = scores[heap[0]!]!;
    for (let i = wanted; i < count; i++) {
      if (!(scores[i]! > worst)) continue;
      heap[0] = i;
      siftDown(heap, scores, 0);
      worst = scores[heap[0]]!;
    }
    return heap;
  }
}

function siftDown(heap: Int32Array, scores: Float32Array, start: number): void {
  const moving = heap[start]!;
  let hole = start;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isWorse(scores, heap[child + 1]!, heap[child]!)) child++;
    if (!isWorse(scores, heap[child]!, moving)) break;
    heap[hole] = heap[child]!;
    hole = child;
  }
  heap[hole] = moving;
}

function isWorse(scores: Float32Array, a: number, b: number): boolean {
  return scores[a]! < scores[b]! || (scores[a] === scores[b] && a > b);
}
