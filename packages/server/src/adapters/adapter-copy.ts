/** Copies an adapter's tensors out of its files into memory of our own. Reads no values. */

import type { AdapterTensors } from '../backend/adapters.ts';
import { ownTensor, type OwnedTensor } from '../weights/owned-tensor.ts';
import { DTYPE_BYTES, elementCount, type TensorView } from '../weights/tensor-view.ts';

export interface OwnedAdapter {
  readonly tensors: AdapterTensors;
  readonly byteLength: number;
}

/** The event loop gets a turn after every module. Rejects with the signal's reason. */
export async function ownAdapter(mapped: AdapterTensors, signal: AbortSignal): Promise<OwnedAdapter> {
  const copies = new Map<TensorView, OwnedTensor>();
  const own = (view: TensorView): OwnedTensor => {
    const copy = copies.get(view) ?? ownTensor(view);
    copies.set(view, copy);
    return copy;
  };
  const each = async <T, C>(items: readonly T[], copy: (item: T) => C): Promise<C[]> => {
    const copied: C[] = [];
    for (const item of items) {
      signal.throwIfAborted();
      copied.push(copy(item));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return copied;
  };
  const lowRank = await each(mapped.lowRank, ({ a, b, magnitude, bias, ...rest }) => ({
    ...rest,
    ...{ a: own(a), b: own(b), magnitude: magnitude && own(magnitude), bias: bias && own(bias) },
  }));
  const replacements = await each(mapped.replacements, ({ at, weight, bias }) => ({
    ...{ at, weight: weight && own(weight), bias: bias && own(bias) },
  }));
  const weights = await each(mapped.weights, own);
  const byteLength = [...copies.values()].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  return { tensors: { lowRank, replacements, weights }, byteLength };
}

/** Bytes that an adapter's tensors hold where each has memory of its own. */
export function tensorBytes({ lowRank, replacements, weights }: AdapterTensors): number {
  const views = new Set<TensorView | undefined>(weights);
  for (const { a, b, magnitude, bias } of lowRank) for (const view of [a, b, magnitude, bias]) views.add(view);
  for (const { weight, bias } of replacements) for (const view of [weight, bias]) views.add(view);
  views.delete(undefined);
  return [...views].reduce((sum, view) => sum + (view ? elementCount(view.shape) * DTYPE_BYTES[view.dtype] : 0), 0);
}
