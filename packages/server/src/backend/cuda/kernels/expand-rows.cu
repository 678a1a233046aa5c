// Products of few shrunk rows at a time with adapters' B, added to outputs.
#include "adapter-rows.cuh"

constexpr int EXPAND_WARPS = 4;
constexpr int EXPAND_THREADS = 32 * EXPAND_WARPS;

// Ranks whose shrunk rows a block holds at once.
constexpr int HELD_RANKS = 256;

// Outputs that a warp computes at once, each lane one.
constexpr int SET = 32;

// Loads of B that a thread has under way at once.
template <int TYPE>
constexpr int B_LOADS = TYPE == ANY_TYPE || TYPE == FLOAT32 ? 4 : 8;

template <int ROWS>
struct HeldRows {
  alignas(16) float values[ROWS][HELD_RANKS];
};

// What an adapter adds to its rows' outputs.
struct Addition {
  const Entry* entry;
  const void* b;
  int bType, rank;
  float weight;
  // The first share's shrunk rows, and the numbers from a row of a share to the next.
  const float* shrunk;
  int rowPitch, partCount;
};

// Outputs of a projection for some rows: those from `first` to `end` are the warp's.
template <int ROWS>
struct Outputs {
  float* rows[ROWS];
  int rowCount, first, end;
  // Nothing is there yet: what comes first is not added but put there.
  bool isEmpty;

  // The lane's output of a set.
  __device__ inline float* at(int row, int firstOutput) const {
    return rows[row] + (firstOutput + static_cast<int>(threadIdx.x) % 32);
  }

  // Those of the lane in the first sets, as many as there are; 0 beyond.
  template <int SETS>
  __device__ inline void load(float (&values)[ROWS][SETS], int firstOutput, int setCount) const {
    const int left = min(setCount * SET, end - firstOutput) - static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
      const float* from = at(row, firstOutput);
#pragma unroll
      for (int s = 0; s < SETS; s++) {
        const bool isThere = !isEmpty && s * SET < left && row < rowCount;
        values[row][s] = isThere ? from[s * SET] : 0.0f;
      }
    }
  }

  __device__ inline void clear() const {
    waitForPrevious();
    for (int i = first; i + static_cast<int>(threadIdx.x) % 32 < end; i += SET) {
#pragma unroll
      for (int row = 0; row < ROWS; row++)
        if (row < rowCount) *at(row, i) = 0.0f;
    }
  }
};

// The block's sums of the parts of shrunk rows, from `firstRank` on.
template <int ROWS>
__device__ inline void holdRanks(HeldRows<ROWS>& held, const Addition& addition, int rowCount, int firstRank) {
  constexpr int AT_ONCE = 8;
  const int rankCount = min(addition.rank - firstRank, HELD_RANKS), heldCount = ceilDivide(max(1, rankCount), 64) * 64;
  __syncthreads();
  for (int i = threadIdx.x; i < ROWS * heldCount; i += EXPAND_THREADS) {
    const int row = i / heldCount, r = i % heldCount, rank = firstRank + r;
    float sum = 0.0f;
    if (r < rankCount && row < rowCount) {
      const Offset line = static_cast<Offset>(rank / SHARE_RANKS) * ROWS + row;
      const float* from = addition.shrunk + line * addition.rowPitch + rank % SHARE_RANKS;
      for (int first = 0; first < addition.partCount; first += AT_ONCE) {
        float parts[AT_ONCE];
#pragma unroll
        for (int p = 0; p < AT_ONCE; p++)
          parts[p] = first + p < addition.partCount ? from[(first + p) * SHARE_RANKS] : 0.0f;
#pragma unroll
        for (int p = 0; p < AT_ONCE; p++) sum += parts[p];
      }
    }
    held.values[row][r] = sum;
  }
  __syncthreads();
}

// How the lanes of a warp share out B: neighbouring ones hold eight ranks each, together those of one output at a time.
struct RankLanes {
  // Their number is a power of two.
  int count, chunk, output;
  // Outputs of all lanes.
  int step;
};

__device__ inline RankLanes shareRanks(int rank, int mostLanes) {
  const int lane = threadIdx.x % 32, chunkCount = min(ceilDivide(rank, 8), mostLanes);
  const int bits = chunkCount <= 1 ? 0 : 32 - __clz(chunkCount - 1);
  return {1 << bits, lane & ((1 << bits) - 1), lane >> bits, SET >> bits};
}

// Numbers of B as they come, of every `step`th output.
template <int TYPE>
struct Batch {
  Eight<TYPE> eights[B_LOADS<TYPE>];

  // Where the lanes have fewer ranks, the last are read again and what comes of them is nobody's.
  __device__ inline void load(const Addition& addition, const RankLanes& lanes, int firstRank, int firstOutput, int end) {
    const int rank = min(firstRank + lanes.chunk * 8, (addition.rank - 1) / 8 * 8), count = addition.rank - rank;
    int output = firstOutput + lanes.output;
    Offset start = static_cast<Offset>(output) * addition.rank + rank;
    const int stride = lanes.step * addition.rank;
#pragma unroll
    for (int j = 0; j < B_LOADS<TYPE>; j++) {
      eights[j] = output < end ? loadEight<TYPE>(addition.b, addition.bType, start, count) : Eight<TYPE>();
      output += lanes.step, start += stride;
    }
  }
};

template <int TYPE, int ROWS>
__device__ inline void multiplyBatch(float (&sums)[ROWS][B_LOADS<TYPE>], const Batch<TYPE>& batch,
                                     const HeldRows<ROWS>& held, int heldRank) {
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    float xs[8];
    widenEight<FLOAT32>(xs, loadEight<FLOAT32>(held.values[row], FLOAT32, heldRank, 8));
#pragma unroll
    for (int j = 0; j < B_LOADS<TYPE>; j++) {
      float values[8];
      widenEight<TYPE>(values, batch.eights[j]);
#pragma unroll
      for (int e = 0; e < 8; e++) sums[row][j] = fmaf(xs[e], values[e], sums[row][j]);
    }
  }
}

// Sums over the lanes of an output: first those of the first set of outputs, each at the lane of its number.
template <int COUNT, int LANES>
__device__ inline void sumSets(float (&values)[COUNT]) {
#pragma unroll
  for (int s = 0; s * LANES < COUNT; s++) {
    float set[LANES];
#pragma unroll
    for (int j = 0; j < LANES; j++) set[j] = values[s * LANES + j];
    const int step = SET / LANES, lane = threadIdx.x % 32;
    values[s] = __shfl_sync(WHOLE_WARP, sumLanes(set, LANES / 2), lane % step * LANES + lane / step);
  }
}

template <int COUNT>
__device__ inline void sumOutputs(float (&values)[COUNT], int laneCount) {
  if (laneCount == 2) sumSets<COUNT, 2>(values);
  else if (laneCount == 4) sumSets<COUNT, 4>(values);
  else if (laneCount == 8) sumSets<COUNT, COUNT>(values);
}

// DoRA's factors of all adapters of the rows.
__device__ inline float outputFactor(const Use* uses, int index, int place, int output) {
  float factor = 1.0f;
  do {
    const Use use = uses[index];
    const Entry* entry = entryAt(use, place);
    if (entry->outputScale != nullptr) factor *= entry->outputScale[output];
    index = use.next;
  } while (index != 0);
  return factor;
}

// What an adapter adds with the ranks from `firstRank` on. The whole block takes part, also warps without outputs.
template <int TYPE, int ROWS>
__device__ inline void addRanks(HeldRows<ROWS>& held, const Outputs<ROWS>& outputs, const Addition& addition,
                                int firstRank) {
  constexpr int COUNT = B_LOADS<TYPE>;
  const int endRank = min(addition.rank, firstRank + HELD_RANKS);
  const RankLanes lanes = shareRanks(addition.rank, COUNT);
  const int outputsAtOnce = COUNT * lanes.step;
  bool isHeld = false;
  int first = outputs.first;
  do {
    float sums[ROWS][COUNT] = {}, before[ROWS][COUNT];
    int rank = firstRank;
    do {
      Batch<TYPE> batch;
      batch.load(addition, lanes, rank, first, rank < endRank ? outputs.end : 0);
      if (rank == firstRank) {
        waitForPrevious();
        outputs.load(before, first, COUNT / lanes.count);
        if (!isHeld) holdRanks(held, addition, outputs.rowCount, firstRank);
        isHeld = true;
      }
      multiplyBatch<TYPE>(sums, batch, held, rank - firstRank + lanes.chunk * 8);
      rank += lanes.count * 8;
    } while (rank < endRank);
#pragma unroll
    for (int row = 0; row < ROWS; row++) sumOutputs(sums[row], lanes.count);
    const int lane = threadIdx.x % 32, left = min(outputsAtOnce, outputs.end - first) - lane;
    const float* scales = addition.entry->outputScale;
    const float* addends = firstRank == 0 ? addition.entry->outputBias : nullptr;
    const float scale = addition.entry->scale * addition.weight;
    float factors[COUNT], biases[COUNT];
#pragma unroll
    for (int s = 0; s < COUNT; s++) {
      const bool isThere = s * SET < left;
      factors[s] = scales != nullptr && isThere ? scales[first + lane + s * SET] * scale : scale;
      biases[s] = addends != nullptr && isThere ? addends[first + lane + s * SET] : 0.0f;
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
      float* to = outputs.at(row, first);
#pragma unroll
      for (int s = 0; s < COUNT; s++)
        if (s * SET < left && row < outputs.rowCount)
          to[s * SET] = fmaf(addition.weight, biases[s], fmaf(factors[s], sums[row][s], before[row][s]));
    }
    first += outputsAtOnce;
  } while (first < outputs.end);
}

template <int TYPE, int ROWS>
__device__ inline void addAdapter(HeldRows<ROWS>& held, Outputs<ROWS>& outputs, const Addition& addition) {
  int first = 0;
  // Once also for an adapter that has only a bias.
  do {
    addRanks<TYPE>(held, outputs, addition, first);
    outputs.isEmpty = false;
    first += HELD_RANKS;
  } while (first < addition.rank);
}

// Rows' outputs times DoRA's factors, before anything is added.
template <int ROWS>
__device__ inline void scaleOutputs(const Outputs<ROWS>& outputs, const Use* uses, int place) {
  waitForPrevious();
  for (int first = outputs.first; first < outputs.end; first += SET) {
    const int output = first + static_cast<int>(threadIdx.x) % 32;
    if (output >= outputs.end) continue;
    const float factor = outputFactor(uses, blockIdx.y, place, output);
#pragma unroll
    for (int row = 0; row < ROWS; row++)
      if (row < outputs.rowCount) *outputs.at(row, first) *= factor;
  }
}

__device__ inline bool hasFactors(const Use* uses, Use use, int place) {
  while (entryAt(use, place)->outputScale == nullptr) {
    if (use.next == 0) return false;
    use = uses[use.next];
  }
  return true;
}

// Blocks `[tile of outputs, share]`: the shares of some rows' first adapter divide the tile among them, and do there what all of
// the rows' adapters do.
template <int ROWS>
__device__ inline void expandShare(const float* shrunk, const Use* uses, int partCount, int projectionCount,
                                   int outputsPerTile, int isEmpty, const Target (&targets)[MOST_PROJECTIONS]) {
  __shared__ HeldRows<ROWS> held;
  Use use = uses[blockIdx.y];
  const OutputTile tile = findTile(targets, blockIdx.x, outputsPerTile);
  const Target& target = tile.target;
  if (use.isFirst) {
    const int warp = use.share * EXPAND_WARPS + threadIdx.x / 32, warpCount = use.shareCount * EXPAND_WARPS;
    const int setCount = outputsPerTile / SET;
    Outputs<ROWS> outputs = {{}, use.rowCount, tile.first + setCount * warp / warpCount * SET,
                             min(tile.first + setCount * (warp + 1) / warpCount * SET, target.outFeatures),
                             isEmpty != 0};
#pragma unroll
    for (int row = 0; row < ROWS; row++) outputs.rows[row] = target.y + static_cast<Offset>(use.rows[row]) * target.stride;
    if (hasFactors(uses, use, target.place)) scaleOutputs(outputs, uses, target.place);
    const ShrunkShape shape = {ROWS, projectionCount, partCount};
    const int rowPitch = projectionCount * partCount * SHARE_RANKS;
    for (int share = blockIdx.y - use.share;;) {
      const Entry* entry = entryAt(use, target.place);
      if (entry != &NOTHING) {
        const Addition addition = {entry, entry->b, entry->bType, entry->rank, use.weight,
                                   shrunk + shrunkOffset(shape, share, 0, tile.projection, 0), rowPitch, partCount};
        if (!readsByEight(entry->b, entry->rank)) addAdapter<ANY_TYPE>(held, outputs, addition);
        else if (entry->bType == BFLOAT16) addAdapter<BFLOAT16>(held, outputs, addition);
        else if (entry->bType == FLOAT16) addAdapter<FLOAT16>(held, outputs, addition);
        else addAdapter<FLOAT32>(held, outputs, addition);
      }
      if (use.next == 0) break;
      share = use.next;
      use = uses[share];
    }
    if (outputs.isEmpty) outputs.clear();
  }
}

// Uses of up to so many rows. What `isEmpty` holds nothing that the outputs are added to, also where adapters do nothing.
extern "C" __global__ void __launch_bounds__(EXPAND_THREADS, RESIDENT_WARPS / EXPAND_WARPS) expand_rows_1(
    const float* shrunk, const Use* uses, int partCount, int projectionCount, int outputsPerTile, int isEmpty, float* y0,
    int stride0, int place0, int out0, float* y1, int stride1, int place1, int out1, float* y2, int stride2, int place2,
    int out2, float* y3, int stride3, int place3, int out3) {
  letNextBegin();
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  expandShare<1>(shrunk, uses, partCount, projectionCount, outputsPerTile, isEmpty, targets);
  waitForPrevious();
}

extern "C" __global__ void __launch_bounds__(EXPAND_THREADS, RESIDENT_WARPS / EXPAND_WARPS) expand_rows_2(
    const float* shrunk, const Use* uses, int partCount, int projectionCount, int outputsPerTile, int isEmpty, float* y0,
    int stride0, int place0, int out0, float* y1, int stride1, int place1, int out1, float* y2, int stride2, int place2,
    int out2, float* y3, int stride3, int place3, int out3) {
  letNextBegin();
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  expandShare<2>(shrunk, uses, partCount, projectionCount, outputsPerTile, isEmpty, targets);
  waitForPrevious();
}

extern "C" __global__ void __launch_bounds__(EXPAND_THREADS, RESIDENT_WARPS / EXPAND_WARPS) expand_rows_4(
    const float* shrunk, const Use* uses, int partCount, int projectionCount, int outputsPerTile, int isEmpty, float* y0,
    int stride0, int place0, int out0, float* y1, int stride1, int place1, int out1, float* y2, int stride2, int place2,
    int out2, float* y3, int stride3, int place3, int out3) {
  letNextBegin();
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  expandShare<4>(shrunk, uses, partCount, projectionCount, outputsPerTile, isEmpty, targets);
  waitForPrevious();
}
