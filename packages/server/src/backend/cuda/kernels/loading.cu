// What happens to weights on their way in: another type, or an adapter added to them.
#include "elements.cuh"

// A thread an element.
extern "C" __global__ void convert_elements(void* y, int yType, const void* x, int xType, int count) {
  beginKernel();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) storeElement(y, yType, i, loadElement(x, xType, i));
}

__device__ inline bool isNumber(float value) { return fabsf(value) <= 3.402823466e+38f; }

// Marks a tensor that holds infinities or NaN. A thread an element.
extern "C" __global__ void check_elements(int* fault, const void* x, int type, int count) {
  beginKernel();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count && !isNumber(loadElement(x, type, i))) *fault = 1;
}

// `W + scale * B A` at one place.
__device__ inline float adaptedElement(const void* w, int wType, const void* a, int aType, const void* b, int bType,
                                       int rank, float scale, int inFeatures, Offset row, int i) {
  float delta = 0.0f;
  for (int r = 0; r < rank; r++)
    delta += loadElement(b, bType, row * rank + r) * loadElement(a, aType, static_cast<Offset>(r) * inFeatures + i);
  return loadElement(w, wType, row * inFeatures + i) + scale * delta;
}

// A block a row of `W + scale * B A`, brought to its magnitude where there are any (DoRA, arXiv 2402.09353, eq. 5). Writes the
// rows to `adapted` or their factors to `factors`, whichever is there; counts rows that hold what is not a number of the type.
extern "C" __global__ void adapt_rows(void* adapted, int adaptedType, float* factors, int* faultCount, const void* w,
                                      int wType, const void* a, int aType, const void* b, int bType, int rank,
                                      float scale, const float* magnitude, int inFeatures) {
  beginKernel();
  const Offset row = blockIdx.x, start = row * inFeatures;
  auto valueAt = [&](int i) { return adaptedElement(w, wType, a, aType, b, bType, rank, scale, inFeatures, row, i); };
  float factor = 1.0f;
  if (magnitude != nullptr) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < inFeatures; i += blockDim.x) sum += valueAt(i) * valueAt(i);
    factor = magnitude[row] / sqrtf(blockSum(sum));
  }
  bool isWhole = isNumber(factor);
  if (adapted != nullptr) {
    for (int i = threadIdx.x; i < inFeatures; i += blockDim.x) {
      storeElement(adapted, adaptedType, start + i, factor * valueAt(i));
      isWhole = isWhole && isNumber(loadElement(adapted, adaptedType, start + i));
    }
  }
  __syncthreads(); // the factors may take the place of the magnitudes
  if (factors != nullptr && threadIdx.x == 0) factors[row] = factor;
  if (!isWhole) atomicAdd(faultCount, 1);
}

// The same rows' sums of squares, where a card has a part of each row. A block a row.
extern "C" __global__ void square_rows(float* squares, const void* w, int wType, const void* a, int aType,
                                       const void* b, int bType, int rank, float scale, int inFeatures) {
  beginKernel();
  float sum = 0.0f;
  for (int i = threadIdx.x; i < inFeatures; i += blockDim.x) {
    const float value = adaptedElement(w, wType, a, aType, b, bType, rank, scale, inFeatures, blockIdx.x, i);
    sum += value * value;
  }
  sum = blockSum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}
