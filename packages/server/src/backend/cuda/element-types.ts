/** How kernels name the types of numbers; `kernels/elements.cuh` has the same numbers. */

import type { Dtype } from '../../weights/tensor-view.ts';

export const ELEMENT_TYPE: Readonly<Record<Dtype, number>> = { float32: 0, float16: 1, bfloat16: 2 };
