// Sums of the attention kernels: of scores over the lanes of a cell, of weighted values over cells, warps and parts of a row.
#pragma once
#include "attention-loads.cuh"

const unsigned EVERY_LANE = 0xffffffffu;
// Parts of a row that are under way at once when they are added up.
const int PARTS_AT_ONCE = 8;
// After a part's sums, its peak and total.
const int PART_EXTRA = 2;
const float NOTHING_SEEN = -1e30f;
const float LOG2_E = 1.44269504089f;

// Of the number of lanes that look at one cell together, which are no fewer than there are heads in a block.
__device__ inline int laneBitsOf(int headDim) { return headDim <= 64 ? 3 : headDim <= 128 ? 4 : 5; }

// Sums over the `lanes` that look at one cell, for all steps side by side. Each lane has those of one head after it: of head
// `lane % HEADS`.
template <int HEADS, int STEPS>
__device__ inline void sumHeads(float (&sums)[STEPS], float (&dots)[STEPS][HEADS], int lane, int lanes) {
#pragma unroll
  for (int kept = HEADS / 2; kept > 0; kept /= 2) {
    const bool isUpper = (lane & kept) != 0;
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
#pragma unroll
      for (int i = 0; i < kept; i++) {
        const float sent = isUpper ? dots[s][i] : dots[s][i + kept];
        dots[s][i] = (isUpper ? dots[s][i + kept] : dots[s][i]) + __shfl_xor_sync(EVERY_LANE, sent, kept);
      }
    }
  }
#pragma unroll
  for (int s = 0; s < STEPS; s++) sums[s] = dots[s][0];
  for (int distance = HEADS; distance < lanes; distance *= 2) {
#pragma unroll
    for (int s = 0; s < STEPS; s++) sums[s] += __shfl_xor_sync(EVERY_LANE, sums[s], distance);
  }
}

// From the lane that keeps `head` among the lanes of this one's cell.
template <int HEADS>
__device__ inline float fromHead(float value, int lane, int head) {
  return HEADS == 1 ? value : __shfl_sync(EVERY_LANE, value, (lane & ~(HEADS - 1)) + head);
}

__device__ inline float tanhOf(float x) { return 1.0f - 2.0f / (exp2f(x * (2.0f * LOG2_E)) + 1.0f); }

template <int HEADS>
__device__ inline void shrinkSums(float (&sums)[HEADS][EACH], float shrink, int lane) {
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    const float shrinkOfHead = fromHead<HEADS>(shrink, lane, h);
#pragma unroll
    for (int i = 0; i < EACH; i++) sums[h][i] *= shrinkOfHead;
  }
}

// The cells of a warp. What saw nothing shrinks to nothing beside what saw something.
template <int HEADS>
__device__ inline void joinCells(float (&sums)[HEADS][EACH], float& peak, float& total, int lane, int lanes) {
  for (int distance = lanes; distance < 32; distance *= 2) {
    const float higher = fmaxf(peak, __shfl_xor_sync(EVERY_LANE, peak, distance));
    const float shrink = exp2f(peak - higher);
    peak = higher;
    total *= shrink;
    total += __shfl_xor_sync(EVERY_LANE, total, distance);
    shrinkSums<HEADS>(sums, shrink, lane);
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
#pragma unroll
      for (int i = 0; i < EACH; i++) sums[h][i] += __shfl_xor_sync(EVERY_LANE, sums[h][i], distance);
    }
  }
}

// Two neighbouring sums of a head over some of what a row sees, and their peak and total.
struct PairOfSums {
  float peak, total;
  float2 sums;

  // Those of others, of each its `ends`: peak and total.
  template <int COUNT>
  __device__ void add(const float2 (&ends)[COUNT], const float2 (&others)[COUNT]) {
    float higher = peak;
#pragma unroll
    for (int i = 0; i < COUNT; i++) higher = fmaxf(higher, ends[i].x);
    const float shrink = exp2f(peak - higher);
    peak = higher;
    total *= shrink, sums.x *= shrink, sums.y *= shrink;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const float weight = exp2f(ends[i].x - higher);
      total += weight * ends[i].y, sums.x += weight * others[i].x, sums.y += weight * others[i].y;
    }
  }

  // Of what saw nothing zeros.
  __device__ void store(const Output& output, Offset at) const {
    output.store(at, total == 0.0f ? 0.0f : sums.x / total);
    output.store(at + 1, total == 0.0f ? 0.0f : sums.y / total);
  }
};

// All parts of one pair, which lie `pitch` apart. Those that are added at once come in one round trip to memory.
__device__ inline PairOfSums joinParts(const float* sums, const float* ends, Offset pitch, int partCount) {
  PairOfSums pair = {NOTHING_SEEN, 0.0f, {0.0f, 0.0f}};
  for (int first = 0; first < partCount; first += PARTS_AT_ONCE) {
    float2 partEnds[PARTS_AT_ONCE], partSums[PARTS_AT_ONCE];
#pragma unroll
    for (int i = 0; i < PARTS_AT_ONCE; i++) {
      const bool exists = first + i < partCount;
      partEnds[i] = exists ? __ldcg(reinterpret_cast<const float2*>(ends)) : make_float2(NOTHING_SEEN, 0.0f);
      partSums[i] = exists ? __ldcg(reinterpret_cast<const float2*>(sums)) : make_float2(0.0f, 0.0f);
      sums += pitch, ends += pitch;
    }
    pair.add(partEnds, partSums);
  }
  return pair;
}

// Whether this block finishes its heads of a row last of all parts, whose partial results it can read then.
__device__ inline bool isLastPart(unsigned* counter, int partCount) {
  __shared__ bool isLast;
  __syncthreads();
  if (threadIdx.x == 0) {
    // One thread's fences are the block's: the barriers order the other threads before and after it.
    __threadfence();
    // Wraps to zero at the last part.
    isLast = atomicInc(counter, partCount - 1) == partCount - 1;
    __threadfence();
  }
  __syncthreads();
  return isLast;
}

// Where the results of a block go. In shared memory: its registers are full meanwhile.
struct Destination {
  int row, part, firstPart, partCount, firstHead, heads, counter;
};

// Gives threads the pairs of neighbours in the block's heads, which are even: numbers turn in pairs. `at` is the pair's place in
// `[heads, lanes * EACH]`.
template <int WARPS, typename Work>
__device__ inline void forPairs(int heads, int headDim, const Work& work) {
  const int headBits = laneBitsOf(headDim) + EACH_BITS;
  for (int at = 2 * threadIdx.x; at < heads << headBits; at += 2 * 32 * WARPS) {
    const int head = at >> headBits, dim = at & ((1 << headBits) - 1);
    if (dim < headDim) work(head, dim, at);
  }
}

// What the warps have of the block's heads becomes the row's result, or a part of it; the last part adds up all.
template <int HEADS, int WARPS>
__device__ inline void storeHeads(const Output& output, const Destination& to, const float* warpSums,
                                  const float2 (&warpEnds)[WARPS][HEADS], float* partials, unsigned* counters,
                                  int headCount, int headDim) {
  const int warpPitch = (HEADS * EACH) << laneBitsOf(headDim), partWidth = headDim + PART_EXTRA;
  const auto partAt = [&](int part, int head) {
    return partials + (static_cast<Offset>(part) * headCount + to.firstHead + head) * partWidth;
  };
  const auto store = [&](const PairOfSums& pair, int head, int dim) {
    pair.store(output, (static_cast<Offset>(to.row) * headCount + to.firstHead + head) * headDim + dim);
  };
  forPairs<WARPS>(to.heads, headDim, [&](int head, int dim, int at) {
    float2 ends[WARPS], sums[WARPS];
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      ends[w] = warpEnds[w][head];
      sums[w] = *reinterpret_cast<const float2*>(warpSums + w * warpPitch + at);
    }
    PairOfSums pair = {NOTHING_SEEN, 0.0f, {0.0f, 0.0f}};
    pair.add(ends, sums);
    if (to.partCount == 1) return store(pair, head, dim);
    float* part = partAt(to.part, head);
    *reinterpret_cast<float2*>(part + dim) = pair.sums;
    if (dim == 0) *reinterpret_cast<float2*>(part + headDim) = make_float2(pair.peak, pair.total);
  });
  if (to.partCount == 1 || !isLastPart(&counters[to.counter], to.partCount)) return;
  forPairs<WARPS>(to.heads, headDim, [&](int head, int dim, int) {
    const float* part = partAt(to.firstPart, head);
    const Offset pitch = static_cast<Offset>(headCount) * partWidth;
    store(joinParts(part + dim, part + headDim, pitch, to.partCount), head, dim);
  });
}
