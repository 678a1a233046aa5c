/** Several event streams as one, each item with its stream's index. Asks each for its next item only when the last was taken. */

import { Channel } from '../base/channel.ts';
import { present } from '../base/assert.ts';

export interface Indexed<T> {
  readonly index: number;
  readonly item: T;
}

/**
 * Ends when all streams have ended, throws when one throws. A consumer that stops early must abort what feeds the streams:
 * a stream that is waiting for its next item cannot be told to stop otherwise.
 */
export async function* interleave<T>(
  sources: readonly AsyncIterable<T>[],
): AsyncGenerator<Indexed<T>, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const arrivals = new Channel<{ readonly index: number; readonly step: IteratorResult<T, unknown> }>();
  const ask = (index: number): void => {
    present(iterators[index], 'iterator')
      .next()
      .then(
        (step) => arrivals.send({ index, step }),
        (error: unknown) => arrivals.fail(error),
      );
  };
  for (const index of iterators.keys()) ask(index);
  let openCount = iterators.length;
  if (openCount === 0) return;
  for await (const { index, step } of arrivals) {
    if (step.done === true) {
      if (--openCount === 0) return;
      continue;
    }
    yield { index, item: step.value };
    ask(index);
  }
}

/** Waits for the first item, so that what fails before it fails here; then the whole stream, that item included. */
export async function primed<T>(source: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    if (first.done === true) return;
    yield first.value;
    for (;;) {
      const step = await iterator.next();
      if (step.done === true) return;
      yield step.value;
    }
  })();
}
