// Keys and values in their cells, and attention over them. Which cells a row sees comes as a table; nothing here knows sequences.
#include "elements.cuh"

// A block a row.
extern "C" __global__ void write_cells(void* keys, int keyType, void* values, int valueType, const float* k,
                                       const float* v, const int* cells, int width) {
  const Offset from = static_cast<Offset>(blockIdx.x) * width, to = static_cast<Offset>(cells[blockIdx.x]) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    storeElement(keys, keyType, to + i, k[from + i]);
    storeElement(values, valueType, to + i, v[from + i]);
  }
}

// A block a layer of `layerBytes`; each thread carries its own bytes through all moves, in their order.
extern "C" __global__ void move_cells(unsigned char* store, Offset layerBytes, int cellBytes, const int* moves,
                                      int moveCount) {
  unsigned char* layer = store + blockIdx.x * layerBytes;
  for (int i = threadIdx.x; i < cellBytes; i += blockDim.x) {
    for (int move = 0; move < moveCount; move++) {
      const Offset from = moves[2 * move], to = moves[2 * move + 1];
      layer[to * cellBytes + i] = layer[from * cellBytes + i];
    }
  }
}

// As visible-cells.ts lays them out: `count` neighbouring cells, then those that a list names.
struct VisibleCells {
  int first, count, listStart, listCount;
};

const int WARPS = 8;
// Cells that a warp looks at together, so that their loads and sums overlap.
const int CELLS = 4;
// Numbers of a head that one lane holds: heads of up to 256.
const int MOST_EACH = 8;
const float NOTHING_SEEN = -1e30f;

__device__ inline int cellAt(const VisibleCells& seen, const int* list, int index) {
  return index < seen.count ? seen.first + index : list[seen.listStart + index - seen.count];
}

// A block of eight warps for each row and head. The warps take turns at the cells, a few at a time, and each keeps a running
// maximum, the sum of exponentials and the weighted values (Milakov and Gimelshein, arXiv 1805.02867); they are joined at the end.
extern "C" __global__ void attend_cells(float* y, const float* q, const void* keys, int keyType, const void* values,
                                        int valueType, const VisibleCells* visible, const int* list, int headCount,
                                        int kvHeadCount, int headDim, float scale) {
  const int row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Offset cellWidth = static_cast<Offset>(kvHeadCount) * headDim;
  const Offset headStart = static_cast<Offset>(head / (headCount / kvHeadCount)) * headDim;
  const Offset queryStart = (static_cast<Offset>(row) * headCount + head) * headDim;
  const VisibleCells seen = visible[row];
  const int seenCount = seen.count + seen.listCount;

  float query[MOST_EACH], sums[MOST_EACH];
#pragma unroll
  for (int i = 0; i < MOST_EACH; i++) {
    const int dim = lane + 32 * i;
    query[i] = dim < headDim ? q[queryStart + dim] * scale : 0.0f;
    sums[i] = 0.0f;
  }
  float peak = NOTHING_SEEN, total = 0.0f;
  for (int index = warp * CELLS; index < seenCount; index += WARPS * CELLS) {
    Offset starts[CELLS];
    float scores[CELLS], higher = peak;
#pragma unroll
    for (int c = 0; c < CELLS; c++) {
      starts[c] = cellAt(seen, list, min(index + c, seenCount - 1)) * cellWidth + headStart;
      scores[c] = 0.0f;
    }
#pragma unroll
    for (int i = 0; i < MOST_EACH; i++) {
      const int dim = lane + 32 * i;
      if (dim >= headDim) continue;
#pragma unroll
      for (int c = 0; c < CELLS; c++) scores[c] += query[i] * loadElement(keys, keyType, starts[c] + dim);
    }
#pragma unroll
    for (int c = 0; c < CELLS; c++) {
      scores[c] = warpSum(scores[c]);
      if (index + c >= seenCount) scores[c] = NOTHING_SEEN;
      higher = fmaxf(higher, scores[c]);
    }
    const float shrink = expf(peak - higher);
    peak = higher;
    total *= shrink;
#pragma unroll
    for (int c = 0; c < CELLS; c++) {
      scores[c] = expf(scores[c] - higher);
      total += scores[c];
    }
#pragma unroll
    for (int i = 0; i < MOST_EACH; i++) {
      const int dim = lane + 32 * i;
      if (dim >= headDim) continue;
      sums[i] *= shrink;
#pragma unroll
      for (int c = 0; c < CELLS; c++) sums[i] += scores[c] * loadElement(values, valueType, starts[c] + dim);
    }
  }

  __shared__ float peaks[WARPS], totals[WARPS], partial[WARPS][32 * MOST_EACH];
  if (lane == 0) {
    peaks[warp] = peak;
    totals[warp] = total;
  }
  for (int i = 0; i < MOST_EACH; i++) partial[warp][lane + 32 * i] = sums[i];
  __syncthreads();
  float highest = peaks[0];
  for (int other = 1; other < WARPS; other++) highest = fmaxf(highest, peaks[other]);
  for (int dim = threadIdx.x; dim < headDim; dim += blockDim.x) {
    float sum = 0.0f, all = 0.0f;
    for (int other = 0; other < WARPS; other++) {
      const float shrink = expf(peaks[other] - highest);
      sum += partial[other][dim] * shrink;
      all += totals[other] * shrink;
    }
    y[queryStart + dim] = sum / all;
  }
}
