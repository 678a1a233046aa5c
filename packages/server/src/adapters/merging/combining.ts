/** Several tensors of one shape become one: as their weighted sum, or as the mean of those that agree. Knows no pruning. */

/** `sum of weights[i] * tensors[i]`. */
export function weightedSum(tensors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const sum = new Float64Array(tensors[0]?.length ?? 0);
  for (const [i, tensor] of tensors.entries()) {
    const weight = weights[i]!;
    for (let at = 0; at < sum.length; at++) sum[at]! += weight * tensor[at]!;
  }
  return new Float32Array(sum);
}

/**
 * At each place the sum of the weighted values whose own sign is the elected one, divided by how many they are (not by
 * their weights). Zeros never agree; where nothing agrees the result is 0.
 */
export function mergeDisjoint(
  tensors: readonly Float32Array[],
  weights: readonly number[],
  signs: Int8Array,
): Float32Array {
  const sum = new Float64Array(signs.length);
  const count = new Uint8Array(signs.length);
  for (const [i, tensor] of tensors.entries()) {
    const weight = weights[i]!;
    for (let at = 0; at < signs.length; at++) {
      if (Math.sign(tensor[at]!) !== signs[at]) continue;
      sum[at]! += weight * tensor[at]!;
      count[at]!++;
    }
  }
  return Float32Array.from(sum, (value, at) => value / Math.max(count[at]!, 1));
}
