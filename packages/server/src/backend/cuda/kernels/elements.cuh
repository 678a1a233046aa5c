// Numbers as they lie in memory, and sums over a block. No headers of CUDA's: its runtime libraries come without them.
#pragma once

// As element-types.ts numbers them.
enum ElementType { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2 };

typedef unsigned short Bits16;
typedef unsigned long long Offset;

__device__ inline float widenFloat16(Bits16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

__device__ inline float widenBfloat16(Bits16 bits) { return __int_as_float(static_cast<int>(bits) << 16); }

// Both round to nearest, ties to even.
__device__ inline Bits16 roundToFloat16(float value) {
  Bits16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ inline Bits16 roundToBfloat16(float value) {
  Bits16 bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ inline float loadElement(const void* memory, int type, Offset index) {
  if (type == FLOAT32) return static_cast<const float*>(memory)[index];
  const Bits16 bits = static_cast<const Bits16*>(memory)[index];
  return type == FLOAT16 ? widenFloat16(bits) : widenBfloat16(bits);
}

__device__ inline void storeElement(void* memory, int type, Offset index, float value) {
  if (type == FLOAT32) static_cast<float*>(memory)[index] = value;
  else static_cast<Bits16*>(memory)[index] = type == FLOAT16 ? roundToFloat16(value) : roundToBfloat16(value);
}

// Element `i` of `count`. In halves it becomes the sum of two 16-bit numbers: the upper one in the first half of the memory, what
// it misses in the second.
__device__ inline void storeRounded(void* rounded, int type, int isSplit, Offset i, Offset count, float value) {
  storeElement(rounded, type, i, value);
  if (isSplit) storeElement(rounded, type, count + i, value - loadElement(rounded, type, i));
}

// Of weights, which are read once: they need no place in the first-level cache.
__device__ inline uint4 loadOnce(const uint4* from) {
  uint4 bits;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits.x), "=r"(bits.y), "=r"(bits.z), "=r"(bits.w)
               : "l"(from));
  return bits;
}

// Where results go: as they are and rounded, of which nobody may need the one or the other.
struct Output {
  float* y;
  void* rounded;
  int type, isSplit;
  Offset count;

  __device__ void store(Offset at, float value) const {
    if (y != nullptr) y[at] = value;
    if (rounded != nullptr) storeRounded(rounded, type, isSplit, at, count, value);
  }
};

// A kernel may begin while the one before it ends (programmatic dependent launch, from Hopper on): it waits here before it touches
// what others write or read.
__device__ inline void waitForPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// From here on the next kernel may begin, as far as there is room beside this one.
__device__ inline void letNextBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// What every kernel begins with that has nothing to do before.
__device__ inline void beginKernel() {
  letNextBegin();
  waitForPrevious();
}

__device__ inline float warpSum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// The sum over all threads, the same in each. The block has whole warps; every thread takes part.
__device__ inline float blockSum(float value) {
  __shared__ float partial[32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  value = warpSum(value);
  __syncthreads();
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warpSum(lane < blockDim.x / 32 ? partial[lane] : 0.0f);
}
