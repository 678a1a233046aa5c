/** Keys and values over all cards of a backend: each shard keeps those of its heads. */

import type { CellMove, KvShape, KvStore } from '../../kv.ts';
import type { CudaKvStore } from '../kv-store.ts';

export class ShardedKvStore implements KvStore {
  readonly shape: KvShape;
  readonly byteLength: number;
  /** By shard. */
  readonly parts: readonly CudaKvStore[];

  /** Takes the parts over, of which there may be fewer than shards where making the next one fails. */
  constructor(shape: KvShape, making: readonly (() => CudaKvStore)[]) {
    const parts: CudaKvStore[] = [];
    try {
      for (const make of making) parts.push(make());
    } catch (error) {
      for (const part of parts) part.dispose();
      throw error;
    }
    this.shape = shape;
    this.parts = parts;
    this.byteLength = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** The same on every shard. */
  get spareCell(): number {
    return this.shape.cellCount;
  }

  moveCells(moves: readonly CellMove[]): void {
    for (const part of this.parts) part.moveCells(moves);
  }

  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}
