// Products of few rows at a time with adapters' A.
#include "adapter-rows.cuh"

constexpr int SHRINK_WARPS = 8;
constexpr int SHRINK_THREADS = 32 * SHRINK_WARPS;

// Eight neighbours of the inputs, whose type is known only when they are read: 16-bit ones take half of it.
struct InputEight {
  uint4 first, second;

  // The memory is aligned to 16 bytes.
  __device__ inline void load(const void* x, int type, Offset start) {
    const uint4* from = static_cast<const uint4*>(numberAt(x, type, start));
    first = from[0];
    if (type == FLOAT32) second = from[1];
  }

  __device__ inline void widen(float (&values)[8], int type) const {
    if (type != FLOAT32) return widenWords(values, first, type);
    const unsigned words[] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
    for (int e = 0; e < 8; e++) values[e] = __uint_as_float(words[e]);
  }
};

// Beside factors of a type that is known, inputs are aligned, and eight at least.
template <int TYPE>
__device__ inline void loadInputs(float (&values)[8], const void* x, int type, Offset start, int count) {
  if constexpr (TYPE == ANY_TYPE) {
    widenEight<ANY_TYPE>(values, loadEight<ANY_TYPE>(x, type, start, count));
  } else {
    InputEight eight;
    eight.load(x, type, start);
    eight.widen(values, type);
  }
}

template <int ROWS>
struct ShrinkPart {
  const void* x;
  int xType;
  Offset rowStarts[ROWS];
  // Those of the share.
  const void* a;
  int aType, rankCount, inFeatures;
  int first, end;
};

// Loads of A that a thread has under way at once: more would take registers that further blocks need.
template <int TYPE, int ROWS>
constexpr int A_LOADS = (ROWS <= 2 ? 128 : 64) / sizeof(Eight<TYPE>);

// Where there are fewer ranks, the last is read again and what comes of it is nobody's.
template <int TYPE, int ROWS>
__device__ inline void dotRanks(float (&sums)[ROWS][SHARE_RANKS], const ShrinkPart<ROWS>& part) {
  constexpr int AT_ONCE = A_LOADS<TYPE, ROWS>;
  for (int i = part.first + threadIdx.x * 8; i < part.end; i += SHRINK_THREADS * 8) {
    const int count = part.end - i;
#pragma unroll
    for (int first = 0; first < SHARE_RANKS; first += AT_ONCE) {
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
        loadInputs<TYPE>(xs, part.x, part.xType, part.rowStarts[row] + i, count);
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

struct ShrinkInput {
  const void* x;
  int type, stride, inFeatures, partLength;
};

// Blocks `[part of the inner dimension, share, projection]`.
template <int ROWS>
__device__ inline void shrinkShare(float* shrunk, const ShrinkInput& input, const Use* uses,
                                   const int (&places)[MOST_PROJECTIONS]) {
  __shared__ float partial[SHRINK_WARPS][ROWS][SHARE_RANKS];
  const Use use = uses[blockIdx.y];
  const Entry* entry = entryAt(use, placeOf(blockIdx.z, places));
  const int firstRank = use.share * SHARE_RANKS, rankCount = min(SHARE_RANKS, entry->rank - firstRank);
  if (rankCount <= 0) return;
  const int first = blockIdx.x * input.partLength;
  const void* a = numberAt(entry->a, entry->aType, static_cast<Offset>(firstRank) * input.inFeatures);
  ShrinkPart<ROWS> part = {input.x, input.type, {}, a, entry->aType, rankCount, input.inFeatures,
                           first, min(first + input.partLength, input.inFeatures)};
#pragma unroll
  for (int row = 0; row < ROWS; row++) part.rowStarts[row] = static_cast<Offset>(use.rows[row]) * input.stride;
  float sums[ROWS][SHARE_RANKS] = {};
  const bool isVectors = readsByEight(part.a, input.inFeatures) && readsByEight(input.x, input.stride);
  if (!isVectors) dotRanks<ANY_TYPE, ROWS>(sums, part);
  else if (part.aType == BFLOAT16) dotRanks<BFLOAT16, ROWS>(sums, part);
  else if (part.aType == FLOAT16) dotRanks<FLOAT16, ROWS>(sums, part);
  else dotRanks<FLOAT32, ROWS>(sums, part);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int row = 0; row < ROWS; row++) {
    float sum = sumLanes(sums[row], 16);
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 2);
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 1);
    if (lane % 4 == 0) partial[warp][row][lane / 4] = sum;
  }
  __syncthreads();
  const int row = threadIdx.x / SHARE_RANKS, r = threadIdx.x % SHARE_RANKS;
  if (row >= use.rowCount || r >= rankCount) return;
  float sum = 0.0f;
#pragma unroll
  for (int w = 0; w < SHRINK_WARPS; w++) sum += partial[w][row][r];
  const ShrunkShape shape = {ROWS, static_cast<int>(gridDim.z), static_cast<int>(gridDim.x)};
  shrunk[shrunkOffset(shape, blockIdx.y, row, blockIdx.z, blockIdx.x) + r] = sum;
}

// Uses of up to so many rows. Blocks with nothing to do wait as well: who waits for these kernels waits for all before them.
extern "C" __global__ void __launch_bounds__(SHRINK_THREADS, RESIDENT_WARPS / SHRINK_WARPS) shrink_rows_1(
    float* shrunk, const void* x, int xType, int stride, const Use* uses, int inFeatures, int partLength, int place0, int place1,
    int place2, int place3) {
  letNextBegin();
  const int places[] = {place0, place1, place2, place3};
  shrinkShare<1>(shrunk, {x, xType, stride, inFeatures, partLength}, uses, places);
  waitForPrevious();
}

extern "C" __global__ void __launch_bounds__(SHRINK_THREADS, RESIDENT_WARPS / SHRINK_WARPS) shrink_rows_2(
    float* shrunk, const void* x, int xType, int stride, const Use* uses, int inFeatures, int partLength, int place0, int place1,
    int place2, int place3) {
  letNextBegin();
  const int places[] = {place0, place1, place2, place3};
  shrinkShare<2>(shrunk, {x, xType, stride, inFeatures, partLength}, uses, places);
  waitForPrevious();
}

extern "C" __global__ void __launch_bounds__(SHRINK_THREADS, RESIDENT_WARPS / SHRINK_WARPS) shrink_rows_4(
    float* shrunk, const void* x, int xType, int stride, const Use* uses, int inFeatures, int partLength, int place0, int place1,
    int place2, int place3) {
  letNextBegin();
  const int places[] = {place0, place1, place2, place3};
  shrinkShare<4>(shrunk, {x, xType, stride, inFeatures, partLength}, uses, places);
  waitForPrevious();
}
