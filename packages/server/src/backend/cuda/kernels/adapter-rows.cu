// Adapters' products with few neighbouring rows at a time, in float32 whatever the factors are: those of decode steps. Factors are
// read as fast as memory gives them, and before the kernel waits for its input.
#include "adapters.cuh"

constexpr int BLOCK_WARPS = 4;
constexpr int BLOCK_THREADS = 32 * BLOCK_WARPS;

// Sums of eight numbers over a warp: that of number `lane / 4`.
__device__ inline float sumEight(float (&values)[8]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int kept = 4, distance = 16; kept > 0; kept /= 2, distance /= 2) {
    const bool isUpper = (lane & distance) != 0;
#pragma unroll
    for (int j = 0; j < kept; j++) {
      const float mine = isUpper ? values[j + kept] : values[j], given = isUpper ? values[j] : values[j + kept];
      values[j] = mine + __shfl_xor_sync(WHOLE_WARP, given, distance);
    }
  }
  values[0] += __shfl_xor_sync(WHOLE_WARP, values[0], 2);
  return values[0] + __shfl_xor_sync(WHOLE_WARP, values[0], 1);
}

struct ShrinkPart {
  const float* x;
  int stride, rowCount;
  // Eight ranks of A or fewer.
  const void* a;
  int aType, rankCount, inFeatures;
  int first, end;
};

// Loads that a thread has under way at once: more would take registers that further blocks need.
template <int TYPE, int ROWS>
constexpr int LOADS = (ROWS == 1 ? 128 : 64) / sizeof(Eight<TYPE>);

// Where there are fewer rows or ranks, the last is read again and what comes of it is nobody's.
template <int TYPE, int ROWS>
__device__ inline void dotRanks(float (&sums)[ROWS][8], const ShrinkPart& part) {
  constexpr int X_TYPE = TYPE == ANY_TYPE ? ANY_TYPE : FLOAT32, AT_ONCE = LOADS<TYPE, ROWS>;
  for (int i = part.first + threadIdx.x * 8; i < part.end; i += BLOCK_THREADS * 8) {
    const int count = part.end - i;
#pragma unroll
    for (int first = 0; first < 8; first += AT_ONCE) {
      Eight<TYPE> as[AT_ONCE];
#pragma unroll
      for (int r = 0; r < AT_ONCE; r++) {
        const Offset start = static_cast<Offset>(min(first + r, part.rankCount - 1)) * part.inFeatures + i;
        as[r] = loadEight<TYPE>(part.a, part.aType, start, count);
      }
      waitForPrevious();
#pragma unroll
      for (int row = 0; row < ROWS; row++) {
        float xs[8];
        const Offset start = static_cast<Offset>(min(row, part.rowCount - 1)) * part.stride + i;
        widenEight<X_TYPE>(xs, loadEight<X_TYPE>(part.x, FLOAT32, start, count));
#pragma unroll
        for (int r = 0; r < AT_ONCE; r++) {
          float values[8];
          widenEight<TYPE>(values, as[r]);
#pragma unroll
          for (int e = 0; e < 8; e++) sums[row][first + r] = fmaf(xs[e], values[e], sums[row][first + r]);
        }
      }
    }
  }
}

// `sums[row][rank]` over the block's part of the inner dimension, written by a thread for each.
template <int ROWS>
__device__ inline void shrinkEight(float* shrunk, Offset rowStep, const ShrinkPart& part) {
  __shared__ float partial[BLOCK_WARPS][ROWS][8];
  float sums[ROWS][8] = {};
  const bool isVectors = readsByEight(part.a, part.inFeatures) && readsByEight(part.x, part.inFeatures) && part.stride % 4 == 0;
  if (!isVectors) dotRanks<ANY_TYPE, ROWS>(sums, part);
  else if (part.aType == BFLOAT16) dotRanks<BFLOAT16, ROWS>(sums, part);
  else if (part.aType == FLOAT16) dotRanks<FLOAT16, ROWS>(sums, part);
  else dotRanks<FLOAT32, ROWS>(sums, part);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    const float sum = sumEight(sums[row]);
    if (lane % 4 == 0) partial[warp][row][lane / 4] = sum;
  }
  __syncthreads();
  const int row = threadIdx.x / 8, r = threadIdx.x % 8;
  if (row < part.rowCount && r < part.rankCount) {
    float sum = 0.0f;
    for (int w = 0; w < BLOCK_WARPS; w++) sum += partial[w][row][r];
    shrunk[row * rowStep + r] = sum;
  }
  __syncthreads();
}

struct ShrinkInput {
  const float* x;
  int stride, inFeatures, partLength;
};

// Blocks `[part of the inner dimension, use, projection and eight ranks]`; those of the third dimension go on to further ranks.
template <int ROWS>
__device__ inline void shrinkUse(float* shrunk, const ShrinkInput& input, const Use* uses, int largestRank,
                                 int projectionCount, const int (&places)[MOST_PROJECTIONS]) {
  const Use use = uses[blockIdx.y];
  const int projection = blockIdx.z % projectionCount, blocks = gridDim.z / projectionCount;
  const Entry* entry = entryAt(use, placeOf(projection, places));
  const ShrunkShape shape = {ROWS, projectionCount, static_cast<int>(gridDim.x), largestRank};
  const Offset rowStep = shrunkOffset(shape, 0, 1, 0, 0);
  const int rank = entry->rank, first = blockIdx.x * input.partLength;
  ShrinkPart part = {input.x + static_cast<Offset>(use.row) * input.stride, input.stride, use.rowCount, nullptr, FLOAT32,
                     0, input.inFeatures, first, min(first + input.partLength, input.inFeatures)};
  for (int r = blockIdx.z / projectionCount * 8; r < rank; r += blocks * 8) {
    part.aType = entry->aType;
    part.a = numberAt(entry->a, part.aType, static_cast<Offset>(r) * input.inFeatures);
    part.rankCount = min(8, rank - r);
    shrinkEight<ROWS>(shrunk + shrunkOffset(shape, blockIdx.y, 0, projection, blockIdx.x) + r, rowStep, part);
  }
}

// Uses of one row. Blocks with nothing to do wait as well: who waits for this kernel waits for all before it.
extern "C" __global__ void __launch_bounds__(128, 6) shrink_rows(float* shrunk, const float* x, int stride,
                                                                 const Use* uses, int inFeatures, int partLength,
                                                                 int largestRank, int projectionCount, int place0,
                                                                 int place1, int place2, int place3) {
  letNextBegin();
  const int places[] = {place0, place1, place2, place3};
  shrinkUse<1>(shrunk, {x, stride, inFeatures, partLength}, uses, largestRank, projectionCount, places);
  waitForPrevious();
}

// Uses of up to four.
extern "C" __global__ void __launch_bounds__(128) shrink_shared_rows(float* shrunk, const float* x, int stride,
                                                                     const Use* uses, int inFeatures, int partLength,
                                                                     int largestRank, int projectionCount, int place0,
                                                                     int place1, int place2, int place3) {
  letNextBegin();
  const int places[] = {place0, place1, place2, place3};
  shrinkUse<SHARED_ROWS>(shrunk, {x, stride, inFeatures, partLength}, uses, largestRank, projectionCount, places);
  waitForPrevious();
}

// Outputs that a warp computes at a time, and those of one lane.
constexpr int WARP_OUTPUTS = 64;
constexpr int LANE_OUTPUTS = WARP_OUTPUTS / 32;

// Most ranks that the lanes of a warp hold, eight each.
constexpr int WARP_RANKS = 256;

// What a warp computes at a time: neighbouring outputs of a use's rows, of which a lane has one in 32.
template <int ROWS>
struct WarpOutputs {
  float* y;
  int stride, rowCount, first, outFeatures;
  float before[ROWS][LANE_OUTPUTS];
  bool isLoaded;

  __device__ inline bool has(int row, int k) const { return row < rowCount && outputOf(k) < outFeatures; }
  __device__ inline int outputOf(int k) const { return first + k * 32 + static_cast<int>(threadIdx.x) % 32; }
  __device__ inline float* at(int row, int k) const { return y + static_cast<Offset>(row) * stride + outputOf(k); }

  // Once the kernel before this one is done.
  __device__ inline void load() {
    waitForPrevious();
    if (isLoaded) return;
    isLoaded = true;
#pragma unroll
    for (int row = 0; row < ROWS; row++)
#pragma unroll
      for (int k = 0; k < LANE_OUTPUTS; k++) before[row][k] = has(row, k) ? *at(row, k) : 0.0f;
  }
};

// A use's shrunk rows as a warp multiplies them: neighbouring lanes hold eight ranks each, together those of one output.
template <int ROWS>
struct HeldRanks {
  float values[ROWS][8];
  int use, firstRank;
};

struct RankLanes {
  int chunkCount, lanesPerOutput, chunk, output;
};

__device__ inline RankLanes shareRanks(int rankCount) {
  const int lane = threadIdx.x % 32, chunkCount = ceilDivide(min(rankCount, WARP_RANKS), 8);
  const int lanes = 1 << (32 - __clz(chunkCount - 1));
  return {chunkCount, lanes, lane % lanes, lane / lanes};
}

struct ShrunkRows {
  const float* shrunk;
  ShrunkShape shape;
  int projection;
};

template <int ROWS>
__device__ inline void holdRanks(HeldRanks<ROWS>& held, const ShrunkRows& rows, int use, int rowCount, int rank,
                                 int firstRank, const RankLanes& lanes) {
  if (held.use == use && held.firstRank == firstRank) return;
  held.use = use, held.firstRank = firstRank;
  const int first = firstRank + lanes.chunk * 8;
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    const Offset start = shrunkOffset(rows.shape, use, min(row, rowCount - 1), rows.projection, 0) + first;
    const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float4 lower = first < rank ? sumParts(rows.shrunk + start, rows.shape) : zeros;
    const float4 upper = first < rank ? sumParts(rows.shrunk + start + 4, rows.shape) : zeros;
    const float values[8] = {lower.x, lower.y, lower.z, lower.w, upper.x, upper.y, upper.z, upper.w};
#pragma unroll
    for (int e = 0; e < 8; e++) held.values[row][e] = first + e < rank ? values[e] : 0.0f;
  }
}

// `deltas[row][output]` of a warp's outputs from the ranks that it holds.
template <int TYPE, int ROWS>
__device__ inline void multiplyRanks(float (*deltas)[WARP_OUTPUTS], WarpOutputs<ROWS>& outputs, HeldRanks<ROWS>& held,
                                     const ShrunkRows& rows, int use, const Entry& entry, int firstRank) {
  constexpr int AT_ONCE = LOADS<TYPE, 4>;
  const RankLanes lanes = shareRanks(entry.rank - firstRank);
  const int outputsAtOnce = 32 / lanes.lanesPerOutput;
  const int rank = firstRank + min(lanes.chunk, lanes.chunkCount - 1) * 8;
  for (int base = lanes.output; base < WARP_OUTPUTS; base += AT_ONCE * outputsAtOnce) {
    Eight<TYPE> bs[AT_ONCE];
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) {
      const Offset output = min(outputs.first + base + j * outputsAtOnce, outputs.outFeatures - 1);
      bs[j] = loadEight<TYPE>(entry.b, entry.bType, output * entry.rank + rank, entry.rank - rank);
    }
    outputs.load();
    holdRanks(held, rows, use, outputs.rowCount, entry.rank, firstRank, lanes);
    float sums[ROWS][AT_ONCE] = {};
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) {
      float values[8];
      widenEight<TYPE>(values, bs[j]);
#pragma unroll
      for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int e = 0; e < 8; e++) sums[row][j] = fmaf(held.values[row][e], values[e], sums[row][j]);
    }
    for (int distance = lanes.lanesPerOutput / 2; distance > 0; distance /= 2)
#pragma unroll
      for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) sums[row][j] += __shfl_xor_sync(WHOLE_WARP, sums[row][j], distance);
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) {
      const int output = base + j * outputsAtOnce;
      if (lanes.chunk != 0 || output >= WARP_OUTPUTS) continue;
#pragma unroll
      for (int row = 0; row < ROWS; row++) deltas[row][output] = sums[row][j];
    }
  }
}

// How a lane's outputs change: `y * factor + addend`.
template <int ROWS>
struct Change {
  float factors[LANE_OUTPUTS];
  float addends[ROWS][LANE_OUTPUTS];
};

// What an adapter does without its factors. Returns DoRA's factors in `scales`.
template <int ROWS>
__device__ inline void addVectors(Change<ROWS>& change, float (&scales)[LANE_OUTPUTS], const Entry& entry, float weight,
                                  const WarpOutputs<ROWS>& outputs) {
#pragma unroll
  for (int k = 0; k < LANE_OUTPUTS; k++) {
    const int output = min(outputs.outputOf(k), outputs.outFeatures - 1);
    scales[k] = entry.outputScale == nullptr ? 1.0f : entry.outputScale[output];
    change.factors[k] *= scales[k];
    if (entry.outputBias == nullptr) continue;
#pragma unroll
    for (int row = 0; row < ROWS; row++) change.addends[row][k] += weight * entry.outputBias[output];
  }
}

// A use's share of a warp's outputs. The whole warp takes part.
template <int ROWS>
__device__ inline void addUse(Change<ROWS>& change, WarpOutputs<ROWS>& outputs, HeldRanks<ROWS>& held,
                              float (*deltas)[WARP_OUTPUTS], const ShrunkRows& rows, int index, float weight,
                              const Entry& entry) {
  float scales[LANE_OUTPUTS];
  addVectors(change, scales, entry, weight, outputs);
  const float scale = entry.scale * weight;
  for (int rank = 0; rank < entry.rank; rank += WARP_RANKS) {
    if (!readsByEight(entry.b, entry.rank)) multiplyRanks<ANY_TYPE>(deltas, outputs, held, rows, index, entry, rank);
    else if (entry.bType == BFLOAT16) multiplyRanks<BFLOAT16>(deltas, outputs, held, rows, index, entry, rank);
    else if (entry.bType == FLOAT16) multiplyRanks<FLOAT16>(deltas, outputs, held, rows, index, entry, rank);
    else multiplyRanks<FLOAT32>(deltas, outputs, held, rows, index, entry, rank);
    __syncwarp();
#pragma unroll
    for (int row = 0; row < ROWS; row++)
#pragma unroll
      for (int k = 0; k < LANE_OUTPUTS; k++)
        change.addends[row][k] += scales[k] * scale * deltas[row][k * 32 + threadIdx.x % 32];
    __syncwarp();
  }
}

template <int ROWS>
__device__ inline void changeOutputs(float (*deltas)[WARP_OUTPUTS], HeldRanks<ROWS>& held, const ShrunkRows& rows,
                                     const Use* uses, WarpOutputs<ROWS>& outputs, int place) {
  Change<ROWS> change = {{1.0f, 1.0f}, {}};
  bool isChanged = false;
  int index = blockIdx.y;
  do {
    const Use use = uses[index];
    const Entry* entry = entryAt(use, place);
    if (entry != &NOTHING) addUse(change, outputs, held, deltas, rows, index, use.weight, *entry);
    isChanged |= entry != &NOTHING;
    index = use.next;
  } while (index != 0);
  if (!isChanged) return;
  outputs.load();
#pragma unroll
  for (int row = 0; row < ROWS; row++)
#pragma unroll
    for (int k = 0; k < LANE_OUTPUTS; k++)
      if (outputs.has(row, k)) *outputs.at(row, k) = outputs.before[row][k] * change.factors[k] + change.addends[row][k];
}

// Blocks `[tile of outputs, use]`, where the first use of some rows does what all of theirs do.
template <int ROWS>
__device__ inline void expandUses(const float* shrunk, const Use* uses, int partCount, int largestRank,
                                  int projectionCount, int outputsPerTile, const Target (&targets)[MOST_PROJECTIONS]) {
  __shared__ float deltas[BLOCK_WARPS][ROWS][WARP_OUTPUTS];
  const Use head = uses[blockIdx.y];
  const OutputTile tile = findTile(targets, blockIdx.x, outputsPerTile);
  const Target& target = tile.target;
  const ShrunkRows rows = {shrunk, {ROWS, projectionCount, partCount, largestRank}, tile.projection};
  const int warp = threadIdx.x / 32, end = head.isFirst ? min(tile.first + outputsPerTile, target.outFeatures) : 0;
  HeldRanks<ROWS> held;
  held.use = -1;
  for (int first = tile.first + warp * WARP_OUTPUTS; first < end; first += BLOCK_WARPS * WARP_OUTPUTS) {
    WarpOutputs<ROWS> outputs = {target.y + static_cast<Offset>(head.row) * target.stride, target.stride, head.rowCount,
                                 first, target.outFeatures, {}, false};
    changeOutputs(deltas[warp], held, rows, uses, outputs, target.place);
  }
}

// Uses of one row.
extern "C" __global__ void __launch_bounds__(128, 6) expand_rows(const float* shrunk, const Use* uses, int partCount,
                                                                 int largestRank, int projectionCount,
                                                                 int outputsPerTile, float* y0, int stride0, int place0,
                                                                 int out0, float* y1, int stride1, int place1, int out1,
                                                                 float* y2, int stride2, int place2, int out2, float* y3,
                                                                 int stride3, int place3, int out3) {
  letNextBegin();
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  expandUses<1>(shrunk, uses, partCount, largestRank, projectionCount, outputsPerTile, targets);
  waitForPrevious();
}

// Uses of up to four.
extern "C" __global__ void __launch_bounds__(128) expand_shared_rows(const float* shrunk, const Use* uses, int partCount,
                                                                     int largestRank, int projectionCount,
                                                                     int outputsPerTile, float* y0, int stride0,
                                                                     int place0, int out0, float* y1, int stride1,
                                                                     int place1, int out1, float* y2, int stride2,
                                                                     int place2, int out2, float* y3, int stride3,
                                                                     int place3, int out3) {
  letNextBegin();
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  expandUses<SHARED_ROWS>(shrunk, uses, partCount, largestRank, projectionCount, outputsPerTile, targets);
  waitForPrevious();
}
