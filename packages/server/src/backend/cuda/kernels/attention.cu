// Keys and values in their cells, and attention over them. Which cells a row sees comes as a table; nothing here knows sequences.
#include "attention-sums.cuh"

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

// What one block looks at, as attention-shares.ts lays it out: `oldCount` neighbouring cells that were there before the step, and
// `newCount` that the step writes, which a list names; without a list (-1) they follow the old ones. Rows that see much are cut
// into `partCount` parts, which meet in the memory of partial results from `firstPart` on.
struct alignas(16) Share {
  int row, first, oldCount, newCount, listStart, part, firstPart, partCount;
};

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
