/** Checks of our own invariants. A failure is a bug of this project, never a caller's mistake (those are `LoraxError`s). */

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}

/** The value, where `undefined` or `null` would be a bug of ours. */
export function present<T>(value: T | undefined | null, what: string): T {
  assert(value !== undefined && value !== null, `${what} is missing`);
  return value;
}
