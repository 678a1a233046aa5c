// Products of up to 64 rows with a 16-bit matrix, for Hopper alone: the copy engine brings the matrix through shared memory to the
// tensor cores as fast as memory gives it, and begins before the kernel ahead is done.
#include "streamed-product.cuh"

// `x` is `[columns, in]`, the matrix `[out, in]`, or `[2 * out, in]` of a gated product. Outputs that nobody needs are null; rounded ones
// are of the matrix's type.
extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_8(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<8, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}

extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_32(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<32, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}

extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_64(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<64, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}
