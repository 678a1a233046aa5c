/** The model's places as one shard computes them: its parts of the weights, and how many features it has of each. */

import type { AttentionShape, EmbeddingTable, Projection, Weight } from '../../backend.ts';
import type { CudaWeight } from '../weights.ts';
import { partOf, shareOf, type ShardPlace } from './shard-place.ts';
import { partAt, rowsWithin } from './sharded-weight.ts';

export class LocalPlaces {
  readonly shard: ShardPlace;
  readonly #projections = new WeakMap<Projection, Projection>();

  constructor(shard: ShardPlace) {
    this.shard = shard;
  }

  weight(weight: Weight): CudaWeight {
    return partAt(weight, this.shard.index);
  }

  projection(projection: Projection): Projection {
    const known = this.#projections.get(projection) ?? this.#divide(projection);
    this.#projections.set(projection, known);
    return known;
  }

  table(table: EmbeddingTable): EmbeddingTable {
    return { ...table, weight: this.weight(table.weight) };
  }

  attention(shape: AttentionShape): AttentionShape {
    const { headCount, kvHeadCount } = shape;
    return { ...shape, headCount: shareOf(headCount, this.shard), kvHeadCount: shareOf(kvHeadCount, this.shard) };
  }

  #divide(projection: Projection): Projection {
    const { split, inFeatures, outFeatures } = projection;
    const weight = this.weight(projection.weight);
    const bias = projection.bias && this.weight(projection.bias);
    if (split === undefined) return { ...projection, weight, bias };
    if (split === 'inputs') {
      const { length } = partOf(inFeatures, this.shard);
      return { ...projection, weight, bias: this.addsOnce ? bias : undefined, inFeatures: length };
    }
    const part = partOf(outFeatures, this.shard);
    return {
      ...projection,
      weight: rowsWithin(weight, part),
      bias: bias && rowsWithin(bias, part),
      outFeatures: part.length,
    };
  }

  /** What is added to results that become a sum over all shards is added by one of them. */
  get addsOnce(): boolean {
    return this.shard.index === 0;
  }
}
