// Activations on their way into products with 16-bit matrices and back. A thread an element.
#include "elements.cuh"

__device__ inline int elementIndex() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Rows of `width` that lie `stride` apart.
extern "C" __global__ void round_activations(void* rounded, int type, int isSplit, const float* x, int stride,
                                             int width, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i >= count) return;
  storeRounded(rounded, type, isSplit, i, count, x[static_cast<Offset>(i / width) * stride + i % width]);
}

extern "C" __global__ void join_halves(float* y, const float* halves, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[i] = halves[i] + halves[static_cast<Offset>(count) + i];
}
