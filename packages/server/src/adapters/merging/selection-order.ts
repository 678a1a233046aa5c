/** Values on their way into another order, each with the index where it came from. Larger values belong before smaller ones. */

export interface Placed {
  readonly value: number;
  readonly index: number;
}

export class SelectionOrder {
  readonly length: number;
  readonly #values: Float32Array;
  /** Where the values at each place came from. */
  readonly indexes: Uint32Array;

  constructor(values: Float32Array) {
    this.length = values.length;
    this.#values = values.slice();
    this.indexes = Uint32Array.from(values.keys());
  }

  isBefore(a: number, b: number): boolean {
    return this.#values[a]! > this.#values[b]!;
  }

  at(place: number): Placed {
    return { value: this.#values[place]!, index: this.indexes[place]! };
  }

  put(place: number, { value, index }: Placed): void {
    this.#values[place] = value;
    this.indexes[place] = index;
  }

  copy(from: number, to: number): void {
    this.#values[to] = this.#values[from]!;
    this.indexes[to] = this.indexes[from]!;
  }

  swap(a: number, b: number): void {
    const value = this.#values[a]!;
    const index = this.indexes[a]!;
    this.copy(b, a);
    this.#values[b] = value;
    this.indexes[b] = index;
  }
}
