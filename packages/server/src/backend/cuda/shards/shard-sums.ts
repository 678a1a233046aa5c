/** Adds up what the shards of one load measured: each goes on when all have. Knows nothing about what was measured. */

interface Round {
  readonly sum: Float32Array;
  readonly settled: Promise<Float32Array>;
  resolve(sum: Float32Array): void;
  reject(reason: unknown): void;
  missing: number;
}

export class ShardSums {
  readonly #shardCount: number;
  readonly #rounds = new Map<string, Round>();
  #failure: { readonly reason: unknown } | undefined;

  constructor(shardCount: number) {
    this.#shardCount = shardCount;
  }

  /** Each shard gives values once under a name. Rejects where a shard failed, whose values never come. */
  add(name: string, values: Float32Array): Promise<Float32Array> {
    const round = this.#rounds.get(name) ?? this.#begin(name, values.length);
    for (const [i, value] of values.entries()) round.sum[i]! += value;
    if (--round.missing === 0) round.resolve(round.sum);
    return round.settled;
  }

  /** Nobody waits any longer for the shard that could not go on. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    for (const round of this.#rounds.values()) round.reject(reason);
  }

  #begin(name: string, length: number): Round {
    let resolve!: Round['resolve'];
    let reject!: Round['reject'];
    const settled = new Promise<Float32Array>((onSum, onFailure) => {
      resolve = onSum;
      reject = onFailure;
    });
    const round = { sum: new Float32Array(length), settled, resolve, reject, missing: this.#shardCount };
    this.#rounds.set(name, round);
    if (this.#failure !== undefined) reject(this.#failure.reason);
    return round;
  }
}
