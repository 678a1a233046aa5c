/** DoRA's factor on a projection's output, computed once, when an adapter is loaded. */

import { adaptedRows, rowScales, stripsOf, type FactorValues } from './adapted-rows.ts';
import type { SideGraphs } from './side-graphs.ts';
import type { GgmlWeight } from './weights.ts';

/** `magnitude / ||W + scale * B A||` per output row: `[out]`, as `magnitude` is. */
export async function doraScales(
  graphs: SideGraphs,
  weight: GgmlWeight,
  factors: FactorValues,
  magnitude: Float32Array,
): Promise<Float32Array> {
  const scales = new Float32Array(magnitude.length);
  for (const strip of stripsOf(weight)) {
    const part = scales.subarray(strip.first, strip.first + strip.count);
    await graphs.run((graph) => {
      const tensor = rowScales(graph, adaptedRows(graph, weight, factors, strip), magnitude, strip);
      graph.ggml.setOutput(tensor);
      graph.expand(tensor);
      return () => graph.ggml.tensorGet(tensor, part, 0, part.byteLength);
    });
  }
  return scales;
}
