/**
 * A one-to-one queue between a producer that must not wait (the step loop) and a consumer that does (an HTTP response).
 * Bounded by its user: a producer that sees `length` grow stops feeding the sequence.
 */
export class Channel<T> implements AsyncIterable<T> {
  #items: T[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  readonly #onReturn: (() => void) | undefined;

  /** `onReturn` runs when the consumer stops early (`break`, a thrown error): the producer should stop too. */
  constructor(onReturn?: () => void) {
    this.#onReturn = onReturn;
  }

  get length(): number {
    return this.#items.length;
  }

  /** Items after the end are dropped: the consumer was told that no more would come. */
  send(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error;
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const items = this.#items;
        this.#items = [];
        yield* items;
        if (this.#items.length > 0) continue;
        if (this.#error !== undefined) throw this.#error;
        if (this.#ended) return;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
      }
    } finally {
      if (!this.#ended) {
        this.#ended = true;
        this.#onReturn?.();
      }
    }
  }
}
