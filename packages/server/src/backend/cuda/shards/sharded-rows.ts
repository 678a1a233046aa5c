/** Ends products as their projections are divided: partial sums become sums, parts of results become whole ones. */

import { assert } from '../../../base/assert.ts';
import type { Projection, RowGraph, Value } from '../../backend.ts';
import type { Program } from '../program.ts';
import { elementsOf, FLOAT_BYTES, newValue, requireDense, type CudaValue } from '../values.ts';
import type { LocalPlaces } from './local-places.ts';
import { CardSum } from './card-sum.ts';
import { partOf } from './shard-place.ts';

/** What a shard has for it. */
export interface ShardRows {
  /** Of what the shard does by itself. */
  readonly graph: RowGraph;
  readonly program: Program;
  readonly places: LocalPlaces;
  /** Whether sums over the shards may come with what is to be made of them. */
  readonly finishesSums: boolean;
}

export function linearTogether(rows: ShardRows, x: Value, projections: readonly Projection[]): Value[] {
  const { graph, places } = rows;
  const products = graph.linear(
    x,
    projections.map((projection) => places.projection(projection)),
  );
  if (places.shard.count === 1) return products;
  return products.map((y, i) => complete(rows, y as CudaValue, projections[i]!));
}

function complete(rows: ShardRows, y: CudaValue, { split, outFeatures }: Projection): CudaValue {
  const { program, places, finishesSums } = rows;
  if (split === 'gathered') return gather(program, places, y, outFeatures);
  if (split !== 'inputs') return y;
  const sum = new CardSum(program, requireDense(y));
  return { ...y, product: undefined, sum: finishesSums ? sum : undefined };
}

function gather(program: Program, { shard }: LocalPlaces, y: CudaValue, width: number): CudaValue {
  const widths = Array.from({ length: shard.count }, (_, index) => partOf(width, { ...shard, index }).length);
  assert(widths[shard.index] === y.width, 'a part of the result');
  const { slab, offset, rows } = requireDense(y);
  const whole = newValue(program, width, y.rowSet);
  const aside = program.claim(elementsOf(whole) * FLOAT_BYTES);
  program.meet([slab, whole.slab, aside], () => ({
    ...({ kind: 'gather', rows, widths, part: slab.address + BigInt(offset) } as const),
    ...{ whole: whole.slab.address, aside: aside.address },
  }));
  return whole;
}
