/** Keeps a share of a tensor's values and zeroes the rest: the largest, or a random choice. Knows no adapter and no strategy. */

/** Whether the value at this index stays. */
export type Mask = (index: number) => boolean;

/** Keeps the `floor(density * length)` values of the largest magnitude; among equal ones those that come first. */
export function pruneByMagnitude(values: Float32Array, density: number): Float32Array {
  const keptCount = Math.floor(density * values.length);
  const kept = new Float32Array(values.length);
  if (keptCount === 0) return kept;
  // Without their sign bits floats are in the order of their bits.
  const magnitudes = new Uint32Array(values.slice().buffer).map((bits) => bits & 0x7fffffff);
  const { threshold, equalCount } = smallestKept(magnitudes, keptCount);
  let equalLeft = equalCount;
  for (let i = 0; i < values.length; i++) {
    const magnitude = magnitudes[i]!;
    if (magnitude > threshold || (magnitude === threshold && equalLeft-- > 0)) kept[i] = values[i]!;
  }
  return kept;
}

/** Keeps the values that the mask chooses, divided by the density, so that their expectation is the whole tensor (DARE). */
export function pruneByMask(values: Float32Array, density: number, isKept: Mask): Float32Array {
  return values.map((value, i) => (isKept(i) ? value / density : 0));
}

/** The `count`-th largest of the numbers, and how many equal to it are among the `count` largest: by counting, unsorted. */
function smallestKept(
  numbers: Uint32Array,
  count: number,
): { readonly threshold: number; readonly equalCount: number } {
  const upper = descend(
    numbers.map((bits) => bits >>> 16),
    count,
  );
  const rest = numbers.filter((bits) => bits >>> 16 === upper.value).map((bits) => bits & 0xffff);
  const lower = descend(rest, upper.left);
  return { threshold: upper.value * 2 ** 16 + lower.value, equalCount: lower.left };
}

/** The `count`-th largest of numbers below 2^16, and its place among those equal to it. */
function descend(numbers: Uint32Array, count: number): { readonly value: number; readonly left: number } {
  const histogram = new Uint32Array(2 ** 16);
  for (let i = 0; i < numbers.length; i++) histogram[numbers[i]!]!++;
  let value = histogram.length - 1;
  let left = count;
  for (; histogram[value]! < left; value--) left -= histogram[value]!;
  return { value, left };
}
