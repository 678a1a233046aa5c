/** The number types that the suite runs in, and how close each has to come. */

import type { KvDtype } from '../backend/kv.ts';
import type { Dtype } from '../weights/tensor-view.ts';

export interface Precision {
  readonly dtype: Dtype;
  readonly kvDtype: KvDtype;
  /** Of the largest logit. */
  readonly tolerance: number;
}

/** As the server pairs them. */
export const PRECISIONS: Readonly<Record<Dtype, Precision>> = {
  float32: { dtype: 'float32', kvDtype: 'float32', tolerance: 1e-4 },
  bfloat16: { dtype: 'bfloat16', kvDtype: 'float16', tolerance: 2e-3 },
  float16: { dtype: 'float16', kvDtype: 'float16', tolerance: 2e-3 },
};
