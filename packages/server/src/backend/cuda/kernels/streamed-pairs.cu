// Streamed products by pairs of blocks, of which each has half of the inputs, in one pass: for matrices of few outputs. They add a residual on
// their way out, and leave what the next norm needs.
#include "streamed-product.cuh"

// As in streamed-products.cu, without gates.
extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_8(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<8, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_32(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<32, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_64(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<64, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}
