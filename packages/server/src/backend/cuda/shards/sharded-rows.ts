/** Ends products as their projections are divided: partial sums become sums, parts of results become whole ones. */

import { assert } from '../../../base/assert.ts';
import type { Projection, RowGraph, Value } from '../../backend.ts';
import type { Program } from '../program.ts';
import { elementsOf, FLOAT_BYTES, newValue, requireDense, type CudaValue } from '../values.ts';
import type { LocalPlaces } from './local-places.ts';
import { partOf } from './shard-place.ts';

export function linearTogether(
  graph: RowGraph,
  program: Program,
  places: LocalPlaces,
  x: Value,
  projections: readonly Projection[],
): Value[] {
  const products = graph.linear(
    x,
    projections.map((projection) => places.projection(projection)),
  );
  if (places.shard.count === 1) return products;
  return products.map((y, i) => complete(program, places, y as CudaValue, projections[i]!));
}

function complete(program: Program, places: LocalPlaces, y: CudaValue, { split, outFeatures }: Projection): CudaValue {
  if (split === 'inputs') return sum(program, y);
  return split === 'gathered' ? gather(program, places, y, outFeatures) : y;
}

/** In place. */
function sum(program: Program, y: CudaValue): CudaValue {
  const { slab, offset } = requireDense(y);
  program.meet([slab], () => ({ kind: 'sum', address: slab.address + BigInt(offset), count: elementsOf(y) }));
  return y;
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
