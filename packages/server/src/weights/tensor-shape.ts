/** Checks of shapes that come from files: numbers from outside may be negative, fractional or too large to multiply. */

/** A list of non-negative safe integers. */
export function isLengthList(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((length) => Number.isSafeInteger(length) && length >= 0);
}

/** The number of elements, or undefined where the product is not exact (larger than 2^53 - 1 on its way). */
export function checkedElementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const length of shape) {
    count *= length;
    if (!Number.isSafeInteger(count)) return undefined;
  }
  return count;
}
