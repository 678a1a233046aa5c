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

// What one block looks at, as attention-plan.ts lays it out: `oldCount` neighbouring cells that were there before the step, then
// `newCount` that the step writes, which a list names; without a list (-1) they follow the old ones. Rows that see much are cut
// into `partCount` parts, which meet in the memory of partial results from `firstPart` on.
struct alignas(16) Share {
  int row, first, oldCount, newCount, listStart, part, firstPart, partCount;
};

const unsigned EVERY_LANE = 0xffffffffu;
// Numbers of a head that one lane holds; 32 lanes at most look at a cell together.
const int EACH = 8;
const int LARGEST_HEAD = 32 * EACH;
// Parts of a row at most, as attention-plan.ts cuts them.
const int MOST_PARTS = 64;
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
// The address is a multiple of 16 bytes.
struct Float16Eight {
  uint4 bits;

  __device__ void load(const void* memory, int, Offset at, int) {
    bits = *reinterpret_cast<const uint4*>(static_cast<const Bits16*>(memory) + at);
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
    low = from[0];
    high = from[1];
  }

  __device__ void widen(float (&numbers)[EACH]) const {
    numbers[0] = low.x, numbers[1] = low.y, numbers[2] = low.z, numbers[3] = low.w;
    numbers[4] = high.x, numbers[5] = high.y, numbers[6] = high.z, numbers[7] = high.w;
  }
};

// Of any type, anywhere, and any `width` of them.
struct AnyEight {
  float held[EACH];

  __device__ void load(const void* memory, int type, Offset at, int width) {
#pragma unroll
    for (int i = 0; i < EACH; i++) held[i] = i < width ? loadElement(memory, type, at + i) : 0.0f;
  }

  __device__ void widen(float (&numbers)[EACH]) const {
#pragma unroll
    for (int i = 0; i < EACH; i++) numbers[i] = held[i];
  }
};

// Lanes that look at one cell together; no fewer than there are heads in a block.
__device__ inline int lanesOf(int headDim) { return headDim <= 64 ? 8 : headDim <= 128 ? 16 : 32; }

// Sums over the `lanes` that look at one cell. Each lane has the sum of one head after it: of head `lane % HEADS`.
template <int HEADS>
__device__ inline float sumHeads(float (&dots)[HEADS], int lane, int lanes) {
#pragma unroll
  for (int kept = HEADS / 2; kept > 0; kept /= 2) {
    const bool isUpper = (lane & kept) != 0;
#pragma unroll
    for (int i = 0; i < kept; i++) {
      const float sent = isUpper ? dots[i] : dots[i + kept];
      dots[i] = (isUpper ? dots[i + kept] : dots[i]) + __shfl_xor_sync(EVERY_LANE, sent, kept);
    }
  }
  float sum = dots[0];
  for (int distance = HEADS; distance < lanes; distance *= 2) sum += __shfl_xor_sync(EVERY_LANE, sum, distance);
  return sum;
}

// From the lane that keeps `head` among the lanes of this one's cell.
template <int HEADS>
__device__ inline float fromHead(float value, int lane, int head) {
  return HEADS == 1 ? value : __shfl_sync(EVERY_LANE, value, (lane & ~(HEADS - 1)) + head);
}

__device__ inline float tanhOf(float x) { return 1.0f - 2.0f / (exp2f(x * (2.0f * LOG2_E)) + 1.0f); }

__device__ inline float warpMax(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, distance));
  }
  return value;
}

// The block that finishes a row's heads last adds up all parts of them. Its own were written before, as those of the others.
template <int HEADS, int WARPS>
__device__ inline void joinParts(const Output& output, const float* partials, const Share& share, int headCount, int firstHead,
                                 int heads, int headDim) {
  __shared__ float factors[MOST_PARTS][HEADS], wholes[HEADS];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Offset pitch = static_cast<Offset>(headCount) * (headDim + PART_EXTRA);
  const float* parts = partials + share.firstPart * pitch + firstHead * (headDim + PART_EXTRA);
  for (int head = warp; head < heads; head += WARPS) {
    const float* peaks = parts + head * (headDim + PART_EXTRA) + headDim;
    float highest = NOTHING_SEEN, whole = 0.0f;
    for (int part = lane; part < share.partCount; part += 32) highest = fmaxf(highest, __ldcg(peaks + part * pitch));
    highest = warpMax(highest);
    for (int part = lane; part < share.partCount; part += 32) {
      factors[part][head] = exp2f(__ldcg(peaks + part * pitch) - highest);
      whole += factors[part][head] * __ldcg(peaks + part * pitch + 1);
    }
    whole = warpSum(whole);
    if (lane == 0) wholes[head] = whole;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * headDim; i += 32 * WARPS) {
    const int head = i / headDim, dim = i % headDim;
    const float* sums = parts + head * (headDim + PART_EXTRA) + dim;
    float sum = 0.0f;
#pragma unroll 4
    for (int part = 0; part < share.partCount; part++) sum += factors[part][head] * __ldcg(sums + part * pitch);
    output.store((static_cast<Offset>(share.row) * headCount + firstHead + head) * headDim + dim, sum / wholes[head]);
  }
}

// A block for each share and up to HEADS query heads of one key head, which are multiplied with each loaded key and value. The
// warps take turns at the cells, STEPS for each `lanes` lanes at a time. Each lane holds its part of the heads' queries and
// weighted values, and the running maximum and sum of exponentials of one head (Milakov and Gimelshein, arXiv 1805.02867).
// Exponents are of base 2. `counters` are zero before and after.
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
  waitForPrevious();
  if (share.row < 0) return;
  const int kvHead = block / blocksEach, skipped = block % blocksEach * HEADS;
  const int firstHead = kvHead * headsEach + skipped, heads = min(HEADS, headsEach - skipped);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, lanes = lanesOf(headDim), cellsEach = 32 / lanes;
  const int dim = lane % lanes * EACH, width = min(EACH, headDim - dim);
  // Lanes beyond the head look at its beginning, with queries of zero.
  const int from = width > 0 ? dim : 0;
  const Offset cellWidth = static_cast<Offset>(kvHeadCount) * headDim, start = kvHead * headDim + from;
  const int seen = share.oldCount + share.newCount;
  const auto placeOf = [&](int index) {
    const int at = min(index, seen - 1);
    const bool isNeighbour = at < share.oldCount || share.listStart < 0;
    const int cell = isNeighbour ? share.first + at : list[share.listStart + at - share.oldCount];
    return cell * cellWidth + start;
  };

  float query[HEADS][EACH], sums[HEADS][EACH];
  const float factor = softCap > 0.0f ? scale / softCap : scale * LOG2_E;
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    Query loaded;
    const int head = firstHead + min(h, heads - 1);
    loaded.load(q, FLOAT32, static_cast<Offset>(share.row) * queryStride + head * headDim + from, width);
    loaded.widen(query[h]);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      query[h][i] = i < width ? query[h][i] * factor : 0.0f;
      sums[h][i] = 0.0f;
    }
  }

  float peak = NOTHING_SEEN, total = 0.0f;
  const int stride = WARPS * STEPS * cellsEach;
  int base = warp * STEPS * cellsEach;
  Key key[STEPS];
  Value value[STEPS];
  if (base < seen) {
#pragma unroll
    for (int s = 0; s < STEPS; s++) key[s].load(keys, keyType, placeOf(base + s * cellsEach + lane / lanes), width);
  }
  for (; base < seen; base += stride) {
    const int index = base + lane / lanes;
    float scores[STEPS], higher = peak;
#pragma unroll
    for (int s = 0; s < STEPS; s++) value[s].load(values, valueType, placeOf(index + s * cellsEach), width);
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      float numbers[EACH], dots[HEADS];
      key[s].widen(numbers);
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        dots[h] = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH; i++) dots[h] += query[h][i] * numbers[i];
      }
      scores[s] = sumHeads<HEADS>(dots, lane, lanes);
      if (softCap > 0.0f) scores[s] = tanhOf(scores[s]) * (softCap * LOG2_E);
      if (index + s * cellsEach >= seen) scores[s] = NOTHING_SEEN;
      higher = fmaxf(higher, scores[s]);
    }
    if (base + stride < seen) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) key[s].load(keys, keyType, placeOf(index + stride + s * cellsEach), width);
    }
    if (__any_sync(EVERY_LANE, higher > peak)) {
      const float shrink = exp2f(peak - higher);
      peak = higher;
      total *= shrink;
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        const float shrinkOfHead = fromHead<HEADS>(shrink, lane, h);
#pragma unroll
        for (int i = 0; i < EACH; i++) sums[h][i] *= shrinkOfHead;
      }
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
  }

  // The cells of a warp, then the warps. What saw nothing shrinks to nothing beside what saw something.
  for (int distance = lanes; distance < 32; distance *= 2) {
    const float higher = fmaxf(peak, __shfl_xor_sync(EVERY_LANE, peak, distance));
    const float shrink = exp2f(peak - higher);
    peak = higher;
    total *= shrink;
    total += __shfl_xor_sync(EVERY_LANE, total, distance);
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
      const float shrinkOfHead = fromHead<HEADS>(shrink, lane, h);
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        sums[h][i] *= shrinkOfHead;
        sums[h][i] += __shfl_xor_sync(EVERY_LANE, sums[h][i], distance);
      }
    }
  }
  __shared__ float warpSums[WARPS][HEADS][LARGEST_HEAD], peaks[WARPS][HEADS], totals[WARPS][HEADS];
  if (lane < HEADS) {
    peaks[warp][lane] = peak;
    totals[warp][lane] = total;
  }
  if (lane < lanes) {
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        if (i < width) warpSums[warp][h][dim + i] = sums[h][i];
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * headDim; i += 32 * WARPS) {
    const int h = i / headDim, d = i % headDim;
    float highest = NOTHING_SEEN, sum = 0.0f, whole = 0.0f;
    for (int w = 0; w < WARPS; w++) highest = fmaxf(highest, peaks[w][h]);
    for (int w = 0; w < WARPS; w++) {
      const float shrink = exp2f(peaks[w][h] - highest);
      sum += warpSums[w][h][d] * shrink;
      whole += totals[w][h] * shrink;
    }
    if (share.partCount == 1) {
      const Offset at = (static_cast<Offset>(share.row) * headCount + firstHead + h) * headDim + d;
      output.store(at, seen > 0 ? sum / whole : 0.0f);
      continue;
    }
    const Offset part = static_cast<Offset>(share.part) * headCount + firstHead + h;
    float* partial = partials + part * (headDim + PART_EXTRA);
    partial[d] = sum;
    if (d == 0) {
      partial[headDim] = highest;
      partial[headDim + 1] = whole;
    }
  }
  if (share.partCount == 1) return;

  __shared__ bool isLast;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    // Wraps to zero at the last part.
    const unsigned done = atomicInc(&counters[share.firstPart * shareBlocks + block], share.partCount - 1);
    isLast = done == share.partCount - 1;
  }
  __syncthreads();
  if (!isLast) return;
  __threadfence();
  joinParts<HEADS, WARPS>(output, partials, share, headCount, firstHead, heads, headDim);
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
