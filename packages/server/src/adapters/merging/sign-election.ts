/** Which sign the tensors of several adapters agree on, value by value (TIES). Knows no weights. */

import type { MajoritySignMethod } from '../../base/adapter-reference.ts';

/**
 * `total`: the sign of the sum. `frequency`: the sign of more tensors. 1 or -1; a tie is 1.
 * The tensors are unweighted, as in LoRAX and PEFT.
 */
export function electSigns(tensors: readonly Float32Array[], method: MajoritySignMethod): Int8Array {
  const votes = new Float64Array(tensors[0]?.length ?? 0);
  for (const tensor of tensors) {
    for (let at = 0; at < votes.length; at++) votes[at]! += method === 'total' ? tensor[at]! : Math.sign(tensor[at]!);
  }
  return Int8Array.from(votes, (vote) => (vote >= 0 ? 1 : -1));
}
