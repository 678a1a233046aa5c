/** Runs work over a list, a few at a time. The first failure stops the rest, and nothing is left running. */

export async function mapLimited<T, R>(
  items: readonly T[],
  limitCount: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  const results: R[] = [];
  const queue = items.entries();
  const runWorker = async (): Promise<void> => {
    for (const [index, item] of queue) {
      stop.signal.throwIfAborted();
      try {
        results[index] = await work(item, stop.signal);
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    }
  };
  try {
    await Promise.allSettled(Array.from({ length: limitCount }, runWorker));
    stop.signal.throwIfAborted();
    return results;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
