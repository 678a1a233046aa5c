/** The places from `first` up to `end` as a heap whose root is the smallest value, as libstdc++'s `__heap_select` has it. */

import type { Placed, SelectionOrder } from './selection-order.ts';

export class SelectionHeap {
  readonly #order: SelectionOrder;
  readonly #first: number;
  readonly #len: number;

  constructor(order: SelectionOrder, first: number, end: number) {
    this.#order = order;
    this.#first = first;
    this.#len = end - first;
    for (let parent = Math.floor(this.#len / 2) - 1; parent >= 0; parent--) {
      this.#sink(parent, order.at(first + parent));
    }
  }

  /** Takes in what is larger among the places behind the heap, up to `last`; the smallest leave for there. */
  take(last: number): void {
    const order = this.#order;
    for (let place = this.#first + this.#len; place < last; place++) {
      if (!order.isBefore(place, this.#first)) continue;
      const taken = order.at(place);
      order.copy(this.#first, place);
      this.#sink(0, taken);
    }
  }

  /** Fills a hole: the smaller children rise to the bottom, and from there `placed` rises again. */
  #sink(top: number, placed: Placed): void {
    const order = this.#order;
    let hole = top;
    let child = 2 * hole + 2;
    for (; child < this.#len; child = 2 * hole + 2) {
      if (order.isBefore(this.#first + child, this.#first + child - 1)) child--;
      order.copy(this.#first + child, this.#first + hole);
      hole = child;
    }
    if (child === this.#len) {
      order.copy(this.#first + child - 1, this.#first + hole);
      hole = child - 1;
    }
    this.#rise(hole, top, placed);
  }

  #rise(from: number, top: number, placed: Placed): void {
    const order = this.#order;
    let hole = from;
    while (hole > top) {
      const parent = Math.floor((hole - 1) / 2);
      if (order.at(this.#first + parent).value <= placed.value) break;
      order.copy(this.#first + parent, this.#first + hole);
      hole = parent;
    }
    order.put(this.#first + hole, placed);
  }
}
