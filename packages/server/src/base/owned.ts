/**
 * Things that hold native resources and that one object is made of: given back together, at its end or where making it
 * breaks off. Knows nothing about what they hold.
 */

interface Holder {
  dispose(): void;
}

export class Owned {
  readonly #things: Holder[] = [];

  add<T extends Holder>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  /** The last first: each may use those before it. */
  dispose(): void {
    for (const thing of this.#things.splice(0).toReversed()) thing.dispose();
  }
}
