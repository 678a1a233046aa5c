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
