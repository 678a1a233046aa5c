/** The number types that the suite runs in, and how close each has to come. */

import type { Dtype } from '../weights/tensor-view.ts';

export interface Precision {
  readonly dtype: Dtype;
  /** Of the largest logit. */
  readonly tolerance: number;
}

/** As the server pairs them. */
export const PRECISIONS: Readonly<Record<Dtype, Precision>> = {
  float32: { dtype: 'float32', tolerance: 1e-4 },
  bfloat16: { dtype: 'bfloat16', tolerance: 2e-3 },
  float16: { dtype: 'float16', tolerance: 2e-3 },
};
