// Numbers of keys, values and queries as a lane of the attention kernels loads them, of every type.
#pragma once
#include "elements.cuh"

// Numbers of a head that one lane holds; 32 lanes at most look at a cell together.
const int EACH_BITS = 3, EACH = 1 << EACH_BITS;

__device__ inline void widenPair(unsigned bits, float& low, float& high) {
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %2;\ncvt.f32.f16 %0, low;\ncvt.f32.f16 %1, high;\n}"
      : "=f"(low), "=f"(high)
      : "r"(bits));
}

// Eight neighbouring numbers as they were loaded: widened when they are used, so that many loads can be under way at once.
// The address is a multiple of 16 bytes. By way of the second-level cache alone: what is read before the kernel ahead is done
// leaves nothing in the first-level cache that is out of date after it.
struct Float16Eight {
  uint4 bits;

  __device__ void load(const void* memory, int, Offset at, int) {
    bits = __ldcg(reinterpret_cast<const uint4*>(static_cast<const Bits16*>(memory) + at));
  }

  __device__ void widen(float (&numbers)[EACH]) const {
    widenPair(bits.x, numbers[0], numbers[1]);
    widenPair(bits.y, numbers[2], numbers[3]);
    widenPair(bits.z, numbers[4], numbers[5]);
    widenPair(bits.w, numbers[6], numbers[7]);
  }
};

struct Float32Eight {
  float4 low, high;

  __device__ void load(const void* memory, int, Offset at, int) {
    const float4* from = reinterpret_cast<const float4*>(static_cast<const float*>(memory) + at);
    low = __ldcg(from);
    high = __ldcg(from + 1);
  }

  __device__ void widen(float (&numbers)[EACH]) const {
    numbers[0] = low.x, numbers[1] = low.y, numbers[2] = low.z, numbers[3] = low.w;
    numbers[4] = high.x, numbers[5] = high.y, numbers[6] = high.z, numbers[7] = high.w;
  }
};

__device__ inline float loadUncached(const void* memory, int type, Offset index) {
  if (type == FLOAT32) return __ldcg(static_cast<const float*>(memory) + index);
  const Bits16 bits = __ldcg(static_cast<const Bits16*>(memory) + index);
  return type == FLOAT16 ? widenFloat16(bits) : widenBfloat16(bits);
}

// Of any type, anywhere, and any `width` of them.
struct AnyEight {
  float held[EACH];

  __device__ void load(const void* memory, int type, Offset at, int width) {
#pragma unroll
    for (int i = 0; i < EACH; i++) held[i] = i < width ? loadUncached(memory, type, at + i) : 0.0f;
  }

  __device__ void widen(float (&numbers)[EACH]) const {
#pragma unroll
    for (int i = 0; i < EACH; i++) numbers[i] = held[i];
  }
};
