/** The base model's tensors on a device. Knows nothing about models. */

import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import type { Weight } from '../backend.ts';
import type { Uploader } from './uploader.ts';

export interface CudaWeight extends Weight {
  readonly address: Pointer;
  readonly dtype: Dtype;
  readonly byteLength: number;
  dispose(): void;
}

interface Memory {
  readonly address: Pointer;
  dispose(): void;
}

/** Where a tensor's memory comes from; `what` names it where there is none. */
export type TakeMemory = (byteLength: number, what: string) => Memory;

/** Memory for a tensor, with whatever it holds. */
export function emptyWeight(
  take: TakeMemory,
  { name, shape }: Pick<TensorView, 'name' | 'shape'>,
  dtype: Dtype,
): CudaWeight {
  const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
  const memory = take(byteLength, name);
  return { name, shape, dtype, address: memory.address, byteLength, dispose: () => memory.dispose() };
}

export async function uploadWeight(
  take: TakeMemory,
  uploader: Uploader,
  view: TensorView,
  dtype: Dtype,
): Promise<CudaWeight> {
  const weight = emptyWeight(take, view, dtype);
  try {
    await uploader.upload(view, weight.address, dtype);
    await uploader.stream.finish(`loading ${view.name}`);
    return weight;
  } catch (error) {
    weight.dispose();
    throw error;
  }
}
