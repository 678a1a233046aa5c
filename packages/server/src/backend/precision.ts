/** How exactly activations are multiplied with 16-bit weights; every backend offers both. */

/** The names that PyTorch gives to `float32_matmul_precision`. */
export type MatmulPrecision = 'high' | 'medium';
