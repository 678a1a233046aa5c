/**
 * Counts live native resources by kind (mappings, tensors' buffers, workers), so that a test can require zero at its end.
 * Knows nothing about what the resources are.
 */

const live = new Map<string, number>();

export function countHandle(kind: string, change: 1 | -1): void {
  live.set(kind, (live.get(kind) ?? 0) + change);
}

/** The kinds of which some are still open, with their number; empty when all were disposed. */
export function liveHandles(): Record<string, number> {
  return Object.fromEntries([...live].filter(([, count]) => count !== 0));
}
