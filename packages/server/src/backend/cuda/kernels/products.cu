// Activations on their way into products with 16-bit matrices and back. A thread an element.
#include "elements.cuh"

__device__ inline int elementIndex() { return blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" __global__ void round_activations(void* y, const float* x, int type, int count) {
  const int i = elementIndex();
  if (i < count) storeElement(y, type, i, x[i]);
}

// Each activation as the sum of two 16-bit numbers: the upper ones in the first half of `y`, what they miss in the second.
extern "C" __global__ void split_activations(void* y, const float* x, int type, int count) {
  const int i = elementIndex();
  if (i >= count) return;
  storeElement(y, type, i, x[i]);
  storeElement(y, type, static_cast<Offset>(count) + i, x[i] - loadElement(y, type, i));
}

extern "C" __global__ void join_halves(float* y, const float* halves, int count) {
  const int i = elementIndex();
  if (i < count) y[i] = halves[i] + halves[static_cast<Offset>(count) + i];
}
