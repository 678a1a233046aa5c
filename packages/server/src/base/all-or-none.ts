/** Several things that are made at the same time and held together: all of them or none. Knows nothing about what they are. */

/**
 * What was made, in the order given; rejects with the first failure in that order once everything has ended and what the others
 * made is disposed.
 */
export async function allOrNone<T extends { dispose(): void }>(making: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(making);
  const failure = results.find((result) => result.status === 'rejected');
  const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (failure === undefined) return made;
  for (const thing of made) thing.dispose();
  throw failure.reason;
}
