// Keys and values in their cells, and attention over them. Which cells a row sees comes as a table; nothing here knows sequences.
#include "elements.cuh"

// A block a layer of `layerBytes`; each thread carries its own bytes through all moves, in their order.
extern "C" __global__ void move_cells(unsigned char* store, Offset layerBytes, int cellBytes, const int* moves,
                                      int moveCount) {
  beginKernel();
  unsigned char* layer = store + blockIdx.x * layerBytes;
  for (int i = threadIdx.x; i < cellBytes; i += blockDim.x) {
    for (int move = 0; move < moveCount; move++) {
      const Offset from = moves[2 * move], to = moves[2 * move + 1];
      layer[to * cellBytes + i] = layer[from * cellBytes + i];
    }
  }
}

// What one block looks at, as attention-plan.ts lays it out: `oldCount` neighbouring cells that were there before the step, and
// `newCount` that the step writes, which a list names; without a list (-1) they follow the old ones. Rows that see much are cut
// into `partCount` parts, which meet in the memory of partial results from `firstPart` on.
struct alignas(16) Share {
  int row, first, oldCount, newCount, listStart, part, firstPart, partCount;
};

const unsigned EVERY_LANE = 0xffffffffu;
// Numbers of a head that one lane holds; 32 lanes at most look at a cell together.
const int EACH_BITS = 3, EACH = 1 << EACH_BITS;
// Parts of a row that are under way at once when they are added up.
const int PARTS_AT_ONCE = 8;
// After a part's sums, its peak and total.
const int PART_EXTRA = 2;
const float NOTHING_SEEN = -1e30f;
const float LOG2_E = 1.44269504089f;

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

// A block for each share and up to HEADS query heads of one key head, which are multiplied with each loaded key and value. The
// warps take turns at the cells, STEPS for each `lanes` lanes at a time. Each lane holds its part of the heads' queries and
// weighted values, and the running maximum and sum of exponentials of one head (Milakov and Gimelshein, arXiv 1805.02867).
// Exponents are of base 2. `counters` are zero before and after. Latency is what counts: whatever is known is loaded at once.
template <typename Query, typename Key, typename Value, int HEADS, int STEPS, int WARPS>
__device__ inline void attendShare(const Output& output, const float* q, int queryStride, const void* keys, int keyType,
                                   const void* values, int valueType, const Share* shares, const int* list,
                                   float* partials, unsigned* counters, int headCount, int kvHeadCount, int headDim,
                                   float scale, float softCap) {
  const int headsEach = headCount / kvHeadCount, blocksEach = (headsEach + HEADS - 1) / HEADS;
  const int shareBlocks = kvHeadCount * blocksEach, block = blockIdx.x % shareBlocks;
  letNextBegin();
  // Tables are there before any kernel of the step begins.
  const Share share = shares[blockIdx.x / shareBlocks];
  const int kvHead = block / blocksEach, skipped = block % blocksEach * HEADS;
  const int firstHead = kvHead * headsEach + skipped, heads = min(HEADS, headsEach - skipped);
  __shared__ Destination destination;
  if (threadIdx.x == 0) {
    const int counter = share.firstPart * shareBlocks + block;
    destination = {share.row, share.part, share.firstPart, share.partCount, firstHead, heads, counter};
  }
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, laneBits = laneBitsOf(headDim), lanes = 1 << laneBits;
  const int cellsEach = 32 >> laneBits, laneFirst = (lane >> laneBits) * STEPS;
  const int dim = (lane & (lanes - 1)) * EACH, width = min(EACH, headDim - dim);
  // Lanes beyond the head look at its beginning, with queries of zero.
  const int from = width > 0 ? dim : 0;
  const unsigned cellWidth = kvHeadCount * headDim, start = kvHead * headDim + from;
  const int seen = share.oldCount + share.newCount, stride = WARPS * STEPS * cellsEach;
  const auto placeOf = [&](int cell) { return static_cast<Offset>(cell) * cellWidth + start; };

  int base = warp * STEPS * cellsEach;
  // The lane's of a turn that begins at `first`; those after the last are the last.
  const auto indexOf = [&](int first, int step) { return min(first + laneFirst + step, seen - 1); };
  const auto cellAt = [&](int index) {
    const bool isNeighbour = index < share.oldCount || share.listStart < 0;
    // Loaded where there is a list alone: the compiler would spend registers on reading ahead.
    return isNeighbour ? share.first + index : __ldca(list + share.listStart + index - share.oldCount);
  };
  Key key[STEPS];
  Value value[STEPS];
  int cells[STEPS];
  const auto loadFirst = [&](bool isOld) {
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      if ((indexOf(base, s) < share.oldCount) != isOld) continue;
      key[s].load(keys, keyType, placeOf(cells[s]), width);
      value[s].load(values, valueType, placeOf(cells[s]), width);
    }
  };
  // The kernel ahead writes the step's own cells; the others need not wait for it.
  if (base < seen) {
#pragma unroll
    for (int s = 0; s < STEPS; s++) cells[s] = cellAt(indexOf(base, s));
    loadFirst(true);
  }
  const unsigned row = share.row, rowStride = queryStride;
  const Offset firstQuery = static_cast<Offset>(row) * rowStride + firstHead * headDim + from;
  const float factor = softCap > 0.0f ? scale / softCap : scale * LOG2_E;
  waitForPrevious();
  if (share.row < 0) return;
  if (base < seen) loadFirst(false);
  // After the cells, whose registers may have to wait for the loads before: queries are under way beside them so.
  Query loaded[HEADS];
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    loaded[h].load(q, FLOAT32, firstQuery + min(h, heads - 1) * headDim, width);
  }

  float query[HEADS][EACH], sums[HEADS][EACH];
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    loaded[h].widen(query[h]);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      query[h][i] = i < width ? query[h][i] * factor : 0.0f;
      sums[h][i] = 0.0f;
    }
  }

  float peak = NOTHING_SEEN, total = 0.0f;
  for (; base < seen; base += stride) {
    const bool goesOn = base + stride < seen;
    float dots[STEPS][HEADS], scores[STEPS], higher = peak;
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      float numbers[EACH];
      key[s].widen(numbers);
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        dots[s][h] = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH; i++) dots[s][h] += query[h][i] * numbers[i];
      }
    }
    sumHeads<HEADS, STEPS>(scores, dots, lane, lanes);
    if (softCap > 0.0f) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) scores[s] = tanhOf(scores[s]) * (softCap * LOG2_E);
    }
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      if (base + laneFirst + s >= seen) scores[s] = NOTHING_SEEN;
      higher = fmaxf(higher, scores[s]);
    }
    if (goesOn) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) key[s].load(keys, keyType, placeOf(cellAt(indexOf(base + stride, s))), width);
    }
    if (__any_sync(EVERY_LANE, higher > peak)) {
      const float shrink = exp2f(peak - higher);
      peak = higher;
      total *= shrink;
      shrinkSums<HEADS>(sums, shrink, lane);
    }
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      float numbers[EACH];
      value[s].widen(numbers);
      const float weight = exp2f(scores[s] - peak);
      total += weight;
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        const float weightOfHead = fromHead<HEADS>(weight, lane, h);
#pragma unroll
        for (int i = 0; i < EACH; i++) sums[h][i] += weightOfHead * numbers[i];
      }
    }
    if (goesOn) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) value[s].load(values, valueType, placeOf(cellAt(indexOf(base + stride, s))), width);
    }
  }

  joinCells<HEADS>(sums, peak, total, lane, lanes);
  // `[WARPS, HEADS, lanes * EACH]`: what lies beyond a head is not read.
  extern __shared__ __align__(16) float warpSums[];
  __shared__ float2 warpEnds[WARPS][HEADS];
  if (lane < HEADS) warpEnds[warp][lane] = make_float2(peak, total);
  if (lane < lanes) {
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
      float4* to = reinterpret_cast<float4*>(warpSums) + ((warp * HEADS + h) * lanes + lane) * (EACH / 4);
      to[0] = make_float4(sums[h][0], sums[h][1], sums[h][2], sums[h][3]);
      to[1] = make_float4(sums[h][4], sums[h][5], sums[h][6], sums[h][7]);
    }
  }
  __syncthreads();
  storeHeads<HEADS, WARPS>(output, destination, warpSums, warpEnds, partials, counters, headCount, headDim);
}

// Float16 keys and values, heads of a multiple of eight: as many query heads a block as the name says.
extern "C" __global__ void __launch_bounds__(256, 3) attend_float16_1(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<Float32Eight, Float16Eight, Float16Eight, 1, 4, 8>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(256, 2) attend_float16_2(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<Float32Eight, Float16Eight, Float16Eight, 2, 4, 8>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(256, 2) attend_float16_4(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<Float32Eight, Float16Eight, Float16Eight, 4, 4, 8>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}

// With fewer warps a block, for so many rows that blocks wait for room: each has less to add up at its end.
extern "C" __global__ void __launch_bounds__(128, 4) attend_float16_4_many(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<Float32Eight, Float16Eight, Float16Eight, 4, 4, 4>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(128, 2) attend_float16_8(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<Float32Eight, Float16Eight, Float16Eight, 8, 4, 4>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}

// The same with float32 keys.
extern "C" __global__ void __launch_bounds__(256, 2) attend_float32_1(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  if (valueType == FLOAT32) {
    attendShare<Float32Eight, Float32Eight, Float32Eight, 1, 4, 8>(
        output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
        headDim, scale, softCap);
  } else {
    attendShare<Float32Eight, Float32Eight, Float16Eight, 1, 4, 8>(
        output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
        headDim, scale, softCap);
  }
}

extern "C" __global__ void __launch_bounds__(128, 3) attend_float32_4(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  if (valueType == FLOAT32) {
    attendShare<Float32Eight, Float32Eight, Float32Eight, 4, 2, 4>(
        output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
        headDim, scale, softCap);
  } else {
    attendShare<Float32Eight, Float32Eight, Float16Eight, 4, 2, 4>(
        output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
        headDim, scale, softCap);
  }
}

// Any types, heads of any length.
extern "C" __global__ void __launch_bounds__(128, 2) attend_any(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    int keyType, const void* values, int valueType, const Share* shares, const int* list, float* partials,
    unsigned* counters, int headCount, int kvHeadCount, int headDim, float scale, float softCap) {
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * headDim};
  attendShare<AnyEight, AnyEight, AnyEight, 4, 2, 4>(
      output, q, queryStride, keys, keyType, values, valueType, shares, list, partials, counters, headCount, kvHeadCount,
      headDim, scale, softCap);
}
