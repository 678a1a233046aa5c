/** What the copy engine brings of a streamed product's matrix and of its activations, each as a map for the kernel. */

import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES } from '../../weights/tensor-view.ts';
import type { Driver } from './driver.ts';
import { CHUNK_INPUTS, OCTET, type StreamPlan, type StreamShape } from './stream-plan.ts';
import { encodeTensorMap, type HalfDtype } from './tensor-map.ts';

/** An array on the device. */
interface Located {
  readonly address: Pointer;
  readonly dtype: HalfDtype;
}

/** `[eights, part, eight, in]`, where gates are one part and what they let through the other. */
export function mapRows(driver: Driver, matrix: Located, shape: StreamShape, { boxOctets }: StreamPlan): Uint8Array {
  const { inFeatures, outFeatures, isGated } = shape;
  const parts = isGated ? 2 : 1;
  const rowBytes = inFeatures * DTYPE_BYTES[matrix.dtype];
  return encodeTensorMap(driver, {
    ...matrix,
    sizes: [inFeatures, OCTET, parts, outFeatures / OCTET],
    strides: [rowBytes, rowBytes * outFeatures, rowBytes * OCTET],
    box: [CHUNK_INPUTS, OCTET, parts, boxOctets / parts],
  });
}

/** `[columns, in]`; zeros in place of columns that there are not. */
export function mapColumns(driver: Driver, x: Located, shape: StreamShape, { boxColumns }: StreamPlan): Uint8Array {
  const { columns, inFeatures } = shape;
  return encodeTensorMap(driver, {
    ...x,
    sizes: [inFeatures, columns],
    strides: [inFeatures * DTYPE_BYTES[x.dtype]],
    box: [CHUNK_INPUTS, boxColumns],
  });
}
