/**
 * Base weights with an adapter added to them for good: `W + scale * B A`, rows brought to DoRA's magnitudes. Computed in
 * float32 and rounded once. Knows nothing about models.
 */

import { LoraxError } from '../../base/errors.ts';
import type { Pointer } from '../../native/ffi.ts';
import { rowMajorStrides, type Dtype } from '../../weights/tensor-view.ts';
import { isFiniteTensor } from '../../weights/values.ts';
import type { LowRankFactors } from '../adapters.ts';
import { adaptedRows, readFactors, rowScales, rowsOf, stripsOf } from './adapted-rows.ts';
import { finiteFloats } from '../finite.ts';
import type { Ggml } from './functions.ts';
import type { SideGraphs } from './side-graphs.ts';
import { emptyWeight, type GgmlWeight } from './weights.ts';

export interface MergeDevice {
  readonly ggml: Ggml;
  readonly bufferType: Pointer;
  readonly graphs: SideGraphs;
}

/** In memory of its own; `base` stays as it is. Throws FILE_INVALID where values are not finite, before or after. */
export async function mergeWeight(
  { ggml, bufferType, graphs }: MergeDevice,
  base: GgmlWeight,
  lowRank: LowRankFactors,
  dtype: Dtype,
): Promise<GgmlWeight> {
  const factors = readFactors(lowRank);
  const magnitude = lowRank.magnitude && finiteFloats(lowRank.magnitude);
  const merged = emptyWeight(ggml, bufferType, base, dtype);
  try {
    for (const strip of stripsOf(base)) {
      await graphs.run((graph) => {
        const rows = adaptedRows(graph, base, factors, strip);
        const scales = magnitude && rowScales(graph, rows, magnitude, strip);
        const result = scales ? ggml.mul(graph.claim(1), rows, scales) : rows;
        graph.expand(ggml.cpy(graph.claim(1), result, rowsOf(graph, merged, strip)));
        return () => undefined;
      });
    }
    requireNumbers(ggml, merged);
    return merged;
  } catch (error) {
    merged.dispose();
    throw error;
  }
}

/** Float16 ends at 65504, and a row of zeros has no direction in which DoRA could lengthen it. */
function requireNumbers(ggml: Ggml, { name, shape, dtype, tensor }: GgmlWeight): void {
  const view = { name, shape, dtype, strides: rowMajorStrides(shape), address: ggml.getData(tensor) };
  if (isFiniteTensor(view)) return;
  const reason = `with the adapter merged into it has values that ${dtype} cannot hold`;
  throw new LoraxError('FILE_INVALID', { file: name, reason });
}
