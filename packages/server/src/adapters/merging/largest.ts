/**
 * Which values are the largest, and among equal ones those that `torch.topk` takes on a CPU: adapters saved in bfloat16
 * have many equal magnitudes, and another choice gives another merge. PyTorch leaves it to `std::nth_element`, or to
 * `std::partial_sort` where few are wanted; these are the ones of libstdc++, step by step.
 */

import { SelectionHeap } from './selection-heap.ts';
import { SelectionOrder } from './selection-order.ts';

/** PyTorch sorts partially where it wants at most one value in so many. */
const PARTIAL_SORT_SHARE = 64;

/** Up to this length libstdc++ sorts by insertion. */
const SHORT_LEN = 3;

/** Marks the `count` largest of `values`, which are numbers; `count` is at least 1. */
export function markLargest(values: Float32Array, count: number): Uint8Array {
  const order = new SelectionOrder(values);
  if (count * PARTIAL_SORT_SHARE <= values.length) new SelectionHeap(order, 0, count).take(values.length);
  else bringForward(order, count - 1);
  const marks = new Uint8Array(values.length);
  for (const index of order.indexes.subarray(0, count)) marks[index] = 1;
  return marks;
}

/** Quickselect: afterwards no value up to place `nth` is smaller than one behind it. */
function bringForward(order: SelectionOrder, nth: number): void {
  let first = 0;
  let last = order.length;
  let roundsLeft = 2 * Math.floor(Math.log2(last));
  while (last - first > SHORT_LEN) {
    // Too many rounds: the values lie so badly that only a heap is sure to end soon.
    if (roundsLeft-- === 0) return new SelectionHeap(order, first, nth + 1).take(last);
    const cut = partition(order, first, last);
    if (cut <= nth) first = cut;
    else last = cut;
  }
  sortShort(order, first, last);
}

/** Around the median of three, which comes to the front. The first place of the part with the smaller values. */
function partition(order: SelectionOrder, first: number, last: number): number {
  order.swap(first, median(order, first + 1, first + Math.floor((last - first) / 2), last - 1));
  let left = first + 1;
  let right = last;
  for (;;) {
    while (order.isBefore(left, first)) left++;
    right--;
    while (order.isBefore(first, right)) right--;
    if (left >= right) return left;
    order.swap(left, right);
    left++;
  }
}

function median(order: SelectionOrder, a: number, b: number, c: number): number {
  if (order.isBefore(a, b)) {
    if (order.isBefore(b, c)) return b;
    return order.isBefore(a, c) ? c : a;
  }
  if (order.isBefore(a, c)) return a;
  return order.isBefore(b, c) ? c : b;
}

function sortShort(order: SelectionOrder, first: number, last: number): void {
  for (let i = first + 1; i < last; i++) {
    for (let at = i; at > first && order.isBefore(at, at - 1); at--) order.swap(at, at - 1);
  }
}
