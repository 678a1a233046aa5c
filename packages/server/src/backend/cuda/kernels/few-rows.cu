// Products of one row or two with a 16-bit matrix: the matrix is read once, as fast as memory gives it.
#include "elements.cuh"

const int WARPS = 8;
const int THREADS = 32 * WARPS;
// Numbers that a thread loads at once.
const int VECTOR = 8;
// Outputs that a block computes at once, and how many of its loads of such a group are under way.
const int GROUP = 4;
const int AHEAD = 2;
const int COLUMNS = 2;

// Of two neighbouring numbers.
template <int TYPE>
__device__ inline float firstOf(unsigned pair) {
  return TYPE == FLOAT16 ? widenFloat16(static_cast<Bits16>(pair)) : __int_as_float(pair << 16);
}

template <int TYPE>
__device__ inline float secondOf(unsigned pair) {
  return TYPE == FLOAT16 ? widenFloat16(static_cast<Bits16>(pair >> 16)) : __int_as_float(pair & 0xffff0000u);
}

// All blocks get as many neighbouring outputs, so that each reads its part of the matrix from beginning to end. Its warps share out
// the inputs.
template <int TYPE>
__device__ inline void multiplyShare(float* y, const uint4* weight, const uint4* x, int columns, int inFeatures,
                                     int outFeatures, int addsColumns) {
  __shared__ float partial[GROUP][COLUMNS][WARPS];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, pitch = inFeatures / VECTOR;
  const int stepCount = (pitch + THREADS - 1) / THREADS;
  const auto beginOf = [&](int block) {
    return static_cast<int>(static_cast<long long>(outFeatures) * block / gridDim.x);
  };
  const int first = beginOf(blockIdx.x), last = beginOf(blockIdx.x + 1);
  const int loadCount = (last - first + GROUP - 1) / GROUP * stepCount;
  const uint4 nothing = make_uint4(0, 0, 0, 0);

  uint4 ahead[AHEAD][GROUP];
  int loadedOut = first, loadedVector = threadIdx.x;
  const auto loadNext = [&](uint4(&group)[GROUP]) {
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
      const bool isThere = loadedOut + i < last && loadedVector < pitch;
      group[i] = isThere ? loadOnce(weight + static_cast<Offset>(loadedOut + i) * pitch + loadedVector) : nothing;
    }
    loadedVector += THREADS;
    if (loadedVector < stepCount * THREADS) return;
    loadedVector = threadIdx.x;
    loadedOut += GROUP;
  };

  float sums[GROUP][COLUMNS] = {};
  const auto addProducts = [&](const uint4(&group)[GROUP], int vector) {
#pragma unroll
    for (int column = 0; column < COLUMNS; column++) {
      const bool isThere = vector < pitch && column < columns;
      const uint4 b = isThere ? x[static_cast<Offset>(column) * pitch + vector] : nothing;
      const float inputs[] = {firstOf<TYPE>(b.x), secondOf<TYPE>(b.x), firstOf<TYPE>(b.y), secondOf<TYPE>(b.y),
                              firstOf<TYPE>(b.z), secondOf<TYPE>(b.z), firstOf<TYPE>(b.w), secondOf<TYPE>(b.w)};
#pragma unroll
      for (int i = 0; i < GROUP; i++) {
        const unsigned pairs[] = {group[i].x, group[i].y, group[i].z, group[i].w};
        float sum = sums[i][column];
#pragma unroll
        for (int k = 0; k < VECTOR; k += 2) {
          sum += firstOf<TYPE>(pairs[k / 2]) * inputs[k];
          sum += secondOf<TYPE>(pairs[k / 2]) * inputs[k + 1];
        }
        sums[i][column] = sum;
      }
    }
  };
  const auto writeSums = [&](int out) {
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
#pragma unroll
      for (int column = 0; column < COLUMNS; column++) {
        const float sum = warpSum(sums[i][column]);
        if (lane == 0) partial[i][column][warp] = sum;
        sums[i][column] = 0.0f;
      }
    }
    __syncthreads();
    const int i = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    if (i < GROUP && out + i < last && column < columns && !(addsColumns && column > 0)) {
      float sum = 0.0f;
      for (int other = 0; other < WARPS; other++) {
        sum += partial[i][column][other];
        if (addsColumns) sum += partial[i][1][other];
      }
      y[static_cast<Offset>(column) * outFeatures + out + i] = sum;
    }
    __syncthreads();
  };

  letNextBegin();
  // The weights do not wait for what comes before.
#pragma unroll
  for (int i = 0; i < AHEAD; i++) loadNext(ahead[i]);
  waitForPrevious();
  int out = first, step = 0;
  for (int done = 0; done < loadCount; done += AHEAD) {
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
      if (done + i >= loadCount) break;
      addProducts(ahead[i], step * THREADS + threadIdx.x);
      loadNext(ahead[i]);
      if (++step < stepCount) continue;
      writeSums(out);
      step = 0;
      out += GROUP;
    }
  }
}

// `x` is `[columns, in]`: rows, or the upper and the lower half of one row, whose products are added.
extern "C" __global__ void __launch_bounds__(THREADS, 3) multiply_few_float16(float* y, const void* weight, const void* x,
                                                                              int columns, int addsColumns,
                                                                              int inFeatures, int outFeatures) {
  multiplyShare<FLOAT16>(y, static_cast<const uint4*>(weight), static_cast<const uint4*>(x), columns, inFeatures, outFeatures,
                         addsColumns);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) multiply_few_bfloat16(float* y, const void* weight,
                                                                               const void* x, int columns,
                                                                               int addsColumns, int inFeatures,
                                                                               int outFeatures) {
  multiplyShare<BFLOAT16>(y, static_cast<const uint4*>(weight), static_cast<const uint4*>(x), columns, inFeatures, outFeatures,
                          addsColumns);
}
