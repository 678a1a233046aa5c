// Adapters' products on tensor cores, with tiles of 64 rows of one adapter whose factors are all of one type: those of prompts.
// Float32 numbers are sums of 16-bit ones there, called their terms.
#include "adapters.cuh"

constexpr float LARGEST_FLOAT16 = 65504.0f;

// Shrunk rows are `[use, row of the use, projection, part, rank]` float32, where the parts are those of the inner dimension.
struct ShrunkShape {
  int rowsPerUse, projectionCount, partCount, largestRank;
};

__device__ inline Offset shrunkOffset(const ShrunkShape& shape, int use, int row, int projection, int part) {
  const Offset line = (static_cast<Offset>(use) * shape.rowsPerUse + row) * shape.projectionCount + projection;
  return (line * shape.partCount + part) * shape.largestRank;
}

__device__ inline float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// Four neighbouring ranks of a shrunk row, summed over its parts.
__device__ inline float4 sumParts(const float* shrunk, const ShrunkShape& shape) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 2
  for (int part = 0; part < shape.partCount; part++)
    sum = sum + *reinterpret_cast<const float4*>(shrunk + static_cast<Offset>(part) * shape.largestRank);
  return sum;
}

// Two numbers of the 16-bit type, the nearest ones that it has.
template <int TYPE>
__device__ inline unsigned packPair(float lower, float upper) {
  unsigned pair;
  if (TYPE == FLOAT16) {
    const float first = fminf(fmaxf(lower, -LARGEST_FLOAT16), LARGEST_FLOAT16);
    const float second = fminf(fmaxf(upper, -LARGEST_FLOAT16), LARGEST_FLOAT16);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upper), "f"(lower));
  }
  return pair;
}

// Terms that come as near to a number as float32 does: each is what those before it miss, rounded.
template <int TYPE>
constexpr int TERMS = TYPE == FLOAT16 ? 2 : 3;

template <int TYPE>
__device__ inline void packTerms(unsigned (&terms)[3], float lower, float upper) {
#pragma unroll
  for (int t = 0; t < TERMS<TYPE>; t++) {
    terms[t] = packPair<TYPE>(lower, upper);
    lower -= lowerOf(terms[t], TYPE), upper -= upperOf(terms[t], TYPE);
  }
}

// A warp's `C[16, 8] += A[16, 16] B[16, 8]`. Lane `4 g + t` has of A the rows g and g + 8, of B the column g, of C the columns 2 t
// and 2 t + 1 in both rows. The 16 inner numbers may come in any order that is the same for A and B: everywhere below
// lane t of four has four neighbours, the first two of which are in `a[0]`, `a[1]` and `b0`.
template <int TYPE>
__device__ inline void multiplyTile(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if (TYPE == FLOAT16)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline unsigned pairAt(const Bits16* from, int count) {
  const unsigned lower = count > 0 ? from[0] : 0u, upper = count > 1 ? from[1] : 0u;
  return lower | upper << 16;
}

template <bool VECTORS>
__device__ inline uint2 loadFourBits(const Bits16* from, int count) {
  if (count <= 0) return make_uint2(0u, 0u);
  if (VECTORS) return *reinterpret_cast<const uint2*>(from);
  return make_uint2(pairAt(from, count), pairAt(from + 2, count - 2));
}

// Four neighbouring numbers of a row; those beyond the last are 0.
__device__ inline float4 loadFour(const float* from, int count, bool isVector) {
  if (isVector && count >= 4) return *reinterpret_cast<const float4*>(from);
  return make_float4(count > 0 ? from[0] : 0.0f, count > 1 ? from[1] : 0.0f, count > 2 ? from[2] : 0.0f,
                     count > 3 ? from[3] : 0.0f);
}

// The type that a tensor core multiplies factors of a type in.
template <int TYPE>
constexpr int MULTIPLIED = TYPE == FLOAT16 ? FLOAT16 : BFLOAT16;

// Four neighbours of a row of factors, as the B of `multiplyTile`. Those of 16 bits have one term.
struct Factors {
  uint2 terms[3];
};

template <int TYPE, bool VECTORS>
__device__ inline Factors loadFactors(const void* matrix, Offset start, int count) {
  if (TYPE != FLOAT32) return {{loadFourBits<VECTORS>(static_cast<const Bits16*>(matrix) + start, count)}};
  const float4 f = loadFour(static_cast<const float*>(matrix) + start, count, VECTORS);
  unsigned first[3], second[3];
  packTerms<BFLOAT16>(first, f.x, f.y);
  packTerms<BFLOAT16>(second, f.z, f.w);
  return {{make_uint2(first[0], second[0]), make_uint2(first[1], second[1]), make_uint2(first[2], second[2])}};
}

// Four neighbours in each of a lane's two rows, as the A of `multiplyTile`.
struct TileRows {
  unsigned terms[3][4];
};

template <int TYPE>
__device__ inline TileRows packRows(const float4& upper, const float4& lower) {
  const float pairs[4][2] = {{upper.x, upper.y}, {lower.x, lower.y}, {upper.z, upper.w}, {lower.z, lower.w}};
  TileRows rows;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    unsigned terms[3];
    packTerms<TYPE>(terms, pairs[i][0], pairs[i][1]);
#pragma unroll
    for (int t = 0; t < TERMS<TYPE>; t++) rows.terms[t][i] = terms[t];
  }
  return rows;
}

// Products of terms that float32 would not see are left out; of rows that are not split there is the first term only.
template <int TYPE>
__device__ inline void multiplyFactors(float (&sums)[4], const TileRows& rows, bool isSplit, const Factors& factors) {
  constexpr int FACTOR_TERMS = TYPE == FLOAT32 ? 3 : 1, ROW_TERMS = TERMS<MULTIPLIED<TYPE>>;
#pragma unroll
  for (int f = 0; f < FACTOR_TERMS; f++)
#pragma unroll
    for (int r = 0; r + f < ROW_TERMS; r++)
      if (isSplit || r == 0)
        multiplyTile<MULTIPLIED<TYPE>>(sums, rows.terms[r], factors.terms[f].x, factors.terms[f].y);
}

// Eight ranks of one projection.
struct RankGroup {
  const void* a;
  int type, projection, firstRank, rankCount;
};

// Ranks that a block multiplies with, eight at a time.
constexpr int GROUPS = 8;

// Number `index` of the adapter's groups, counted through all projections; without ranks where there are fewer.
__device__ inline RankGroup findRankGroup(const Use& use, int index, int projectionCount, int inFeatures,
                                          const int (&places)[MOST_PROJECTIONS]) {
  for (int p = 0; p < projectionCount; p++) {
    const Entry* entry = entryAt(use, placeOf(p, places));
    if (entry == &NOTHING) continue;
    const int count = ceilDivide(entry->rank, 8);
    if (index < count) {
      const void* a = numberAt(entry->a, entry->aType, static_cast<Offset>(index) * 8 * inFeatures);
      return {a, entry->aType, p, index * 8, min(8, entry->rank - index * 8)};
    }
    index -= count;
  }
  return {nullptr, FLOAT32, 0, 0, 0};
}

// The part of the inner dimension that a block multiplies, and a lane's two rows of it.
struct TilePart {
  const float* upperRow;
  const float* lowerRow;
  int inFeatures, first, end;
  bool isSplit;
};

template <int TYPE, bool VECTORS>
__device__ inline void multiplyGroups(float (&sums)[GROUPS][4], const RankGroup* groups, int groupCount,
                                      const TilePart& part) {
  const int lane = threadIdx.x % 32;
#pragma unroll 2
  for (int k = part.first; k < part.end; k += 16) {
    const int i = k + lane % 4 * 4, count = part.end - i;
    const float4 upper = loadFour(part.upperRow + i, count, VECTORS), lower = loadFour(part.lowerRow + i, count, VECTORS);
    Factors factors[GROUPS];
#pragma unroll
    for (int j = 0; j < GROUPS; j++) {
      if (j >= groupCount) continue;
      const int rank = min(lane / 4, groups[j].rankCount - 1);
      factors[j] = loadFactors<TYPE, VECTORS>(groups[j].a, static_cast<Offset>(rank) * part.inFeatures + i, count);
    }
    const TileRows rows = packRows<MULTIPLIED<TYPE>>(upper, lower);
#pragma unroll
    for (int j = 0; j < GROUPS; j++)
      if (j < groupCount) multiplyFactors<TYPE>(sums[j], rows, part.isSplit, factors[j]);
  }
}

// Blocks `[part of the inner dimension, tile of rows, 64 ranks]`, a warp for 16 rows. Ranks are counted through all projections.
extern "C" __global__ void __launch_bounds__(128) shrink_tiles(float* shrunk, const float* x, int stride,
                                                               const Use* tiles, int inFeatures, int partLength,
                                                               int largestRank, int isSplit, int projectionCount,
                                                               int place0, int place1, int place2, int place3) {
  __shared__ RankGroup groups[GROUPS];
  beginKernel();
  const Use use = tiles[blockIdx.y];
  const int places[] = {place0, place1, place2, place3};
  if (threadIdx.x < GROUPS)
    groups[threadIdx.x] = findRankGroup(use, blockIdx.z * GROUPS + threadIdx.x, projectionCount, inFeatures, places);
  __syncthreads();
  int groupCount = 0;
  while (groupCount < GROUPS && groups[groupCount].rankCount > 0) groupCount++;
  const int lane = threadIdx.x % 32, firstRow = threadIdx.x / 32 * 16;
  if (groupCount == 0 || firstRow >= use.rowCount) return;
  // Rows beyond the last are the last again, and what comes of them is nobody's.
  const int upper = firstRow + lane / 4, lower = upper + 8, last = use.rowCount - 1;
  const int first = blockIdx.x * partLength;
  const TilePart part = {x + static_cast<Offset>(use.rows[0] + min(upper, last)) * stride,
                         x + static_cast<Offset>(use.rows[0] + min(lower, last)) * stride,
                         inFeatures, first, min(first + partLength, inFeatures), isSplit != 0};
  float sums[GROUPS][4] = {};
  const bool isVectors = readsByEight(x, inFeatures) && stride % 4 == 0;
  const int type = groups[0].type;
  if (type == BFLOAT16 && isVectors) multiplyGroups<BFLOAT16, true>(sums, groups, groupCount, part);
  else if (type == BFLOAT16) multiplyGroups<BFLOAT16, false>(sums, groups, groupCount, part);
  else if (type == FLOAT16 && isVectors) multiplyGroups<FLOAT16, true>(sums, groups, groupCount, part);
  else if (type == FLOAT16) multiplyGroups<FLOAT16, false>(sums, groups, groupCount, part);
  else if (isVectors) multiplyGroups<FLOAT32, true>(sums, groups, groupCount, part);
  else multiplyGroups<FLOAT32, false>(sums, groups, groupCount, part);
  const ShrunkShape shape = {TILE_ROWS, projectionCount, static_cast<int>(gridDim.x), largestRank};
#pragma unroll
  for (int j = 0; j < GROUPS; j++) {
    if (j >= groupCount) continue;
    const RankGroup& group = groups[j];
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int row = e < 2 ? upper : lower, rank = lane % 4 * 2 + e % 2;
      if (row > last || rank >= group.rankCount) continue;
      shrunk[shrunkOffset(shape, blockIdx.y, row, group.projection, blockIdx.x) + group.firstRank + rank] = sums[j][e];
    }
  }
}

// Ranks that a lane holds the shrunk rows of at once, 16 a step of the multiplication; outputs that a warp computes at once.
constexpr int RANK_STEPS = 4;
constexpr int TILE_RANKS = 16 * RANK_STEPS;
constexpr int STEP_OUTPUTS = 64;

// A lane's two shrunk rows.
struct ShrunkPair {
  const float* upper;
  const float* lower;
  ShrunkShape shape;
};

// As much of them as it holds at once, split: beside y they are small, and it costs no time.
struct TileRanks {
  TileRows steps[RANK_STEPS];
};

__device__ inline float4 keepFour(float4 values, int count) {
  return make_float4(count > 0 ? values.x : 0.0f, count > 1 ? values.y : 0.0f, count > 2 ? values.z : 0.0f,
                     count > 3 ? values.w : 0.0f);
}

template <int TYPE>
__device__ inline void holdTileRanks(TileRanks& held, const ShrunkPair& ranks, int firstRank, int rank) {
#pragma unroll
  for (int k = 0; k < RANK_STEPS; k++) {
    if (firstRank + k * 16 >= rank) continue;
    const int first = firstRank + k * 16 + threadIdx.x % 4 * 4;
    const float4 upper = keepFour(sumParts(ranks.upper + first, ranks.shape), rank - first);
    const float4 lower = keepFour(sumParts(ranks.lower + first, ranks.shape), rank - first);
    held.steps[k] = packRows<MULTIPLIED<TYPE>>(upper, lower);
  }
}

__device__ inline void storeFour(float* to, float4 values, int count, bool isVector) {
  if (isVector && count >= 4) {
    *reinterpret_cast<float4*>(to) = values;
    return;
  }
  if (count > 0) to[0] = values.x;
  if (count > 1) to[1] = values.y;
  if (count > 2) to[2] = values.z;
  if (count > 3) to[3] = values.w;
}

__device__ inline float4 multiplyAdd(float4 a, float4 b, float4 c) {
  return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}

__device__ inline float4 times(float4 a, float factor) {
  return make_float4(a.x * factor, a.y * factor, a.z * factor, a.w * factor);
}

// A lane's two rows of outputs.
struct TileOutputs {
  float* upperRow;
  float* lowerRow;
  int end;
  bool hasUpper, hasLower, isVector;
};

// DoRA's factors go over all of y once, with the first ranks.
template <int TYPE, bool VECTORS>
__device__ inline void expandStep(const TileOutputs& y, const TileRanks& held, const Entry& entry, float weight,
                                  int firstRank, int firstOutput) {
  constexpr int QUADS = STEP_OUTPUTS / 16;
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float4 upper[QUADS], lower[QUADS];
#pragma unroll
  for (int q = 0; q < QUADS; q++) {
    const int output = firstOutput + q * 16 + t * 4;
    upper[q] = loadFour(y.upperRow + output, y.hasUpper ? y.end - output : 0, y.isVector);
    lower[q] = loadFour(y.lowerRow + output, y.hasLower ? y.end - output : 0, y.isVector);
  }
#pragma unroll
  for (int q = 0; q < QUADS; q++) {
    // Two tiles of eight outputs, so mixed that a lane's four are neighbours.
    float sums[2][4] = {};
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int output = min(firstOutput + q * 16 + g / 2 * 4 + half * 2 + g % 2, y.end - 1);
#pragma unroll
      for (int k = 0; k < RANK_STEPS; k++) {
        if (firstRank + k * 16 >= entry.rank) continue;
        const int rank = firstRank + k * 16 + t * 4;
        const Offset start = static_cast<Offset>(output) * entry.rank + rank;
        const Factors factors = loadFactors<TYPE, VECTORS>(entry.b, start, entry.rank - rank);
        multiplyFactors<TYPE>(sums[half], held.steps[k], true, factors);
      }
    }
    const int output = firstOutput + q * 16 + t * 4, count = y.end - output;
    const float scale = entry.scale * weight;
    float4 upperDelta = times(make_float4(sums[0][0], sums[0][1], sums[1][0], sums[1][1]), scale);
    float4 lowerDelta = times(make_float4(sums[0][2], sums[0][3], sums[1][2], sums[1][3]), scale);
    if (entry.outputScale != nullptr) {
      const float4 scales = loadFour(entry.outputScale + output, count, false);
      const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      upperDelta = multiplyAdd(upperDelta, scales, zeros), lowerDelta = multiplyAdd(lowerDelta, scales, zeros);
      if (firstRank == 0) upper[q] = multiplyAdd(upper[q], scales, zeros), lower[q] = multiplyAdd(lower[q], scales, zeros);
    }
    upper[q] = upper[q] + upperDelta, lower[q] = lower[q] + lowerDelta;
    if (entry.outputBias != nullptr && firstRank == 0) {
      const float4 addends = times(loadFour(entry.outputBias + output, count, false), weight);
      upper[q] = upper[q] + addends, lower[q] = lower[q] + addends;
    }
    storeFour(y.upperRow + output, upper[q], y.hasUpper ? count : 0, y.isVector);
    storeFour(y.lowerRow + output, lower[q], y.hasLower ? count : 0, y.isVector);
  }
}

template <int TYPE, bool VECTORS>
__device__ inline void expandTile(const TileOutputs& y, const ShrunkPair& ranks, const Entry& entry, float weight,
                                  int firstOutput, int end) {
  int firstRank = 0;
  // Once also for an adapter that has only a bias.
  do {
    TileRanks held;
    holdTileRanks<TYPE>(held, ranks, firstRank, entry.rank);
    for (int output = firstOutput; output < end; output += STEP_OUTPUTS)
      expandStep<TYPE, VECTORS>(y, held, entry, weight, firstRank, output);
    firstRank += TILE_RANKS;
  } while (firstRank < entry.rank);
}

// Blocks `[tile of outputs, tile of rows]`, a warp for 16 rows.
extern "C" __global__ void __launch_bounds__(128) expand_tiles(const float* shrunk, const Use* tiles, int partCount,
                                                               int largestRank, int projectionCount, int outputsPerTile,
                                                               float* y0, int stride0, int place0, int out0, float* y1,
                                                               int stride1, int place1, int out1, float* y2, int stride2,
                                                               int place2, int out2, float* y3, int stride3, int place3,
                                                               int out3) {
  beginKernel();
  const Use use = tiles[blockIdx.y];
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  const OutputTile tile = findTile(targets, blockIdx.x, outputsPerTile);
  const Target& target = tile.target;
  const Entry* entry = entryAt(use, target.place);
  const int firstRow = threadIdx.x / 32 * 16;
  if (entry == &NOTHING || firstRow >= use.rowCount) return;
  const int upper = firstRow + threadIdx.x % 32 / 4, lower = upper + 8, last = use.rowCount - 1;
  const ShrunkShape shape = {TILE_ROWS, projectionCount, partCount, largestRank};
  const ShrunkPair ranks = {shrunk + shrunkOffset(shape, blockIdx.y, min(upper, last), tile.projection, 0),
                            shrunk + shrunkOffset(shape, blockIdx.y, min(lower, last), tile.projection, 0), shape};
  const TileOutputs y = {target.y + static_cast<Offset>(use.rows[0] + upper) * target.stride,
                         target.y + static_cast<Offset>(use.rows[0] + lower) * target.stride,
                         target.outFeatures, upper <= last, lower <= last,
                         isAligned(target.y, 16) && target.stride % 4 == 0};
  const int end = min(tile.first + outputsPerTile, target.outFeatures);
  const bool isVectors = entry->rank % 4 == 0;
  const int type = entry->rank == 0 ? BFLOAT16 : entry->bType;
  if (type == BFLOAT16 && isVectors) expandTile<BFLOAT16, true>(y, ranks, *entry, use.weight, tile.first, end);
  else if (type == BFLOAT16) expandTile<BFLOAT16, false>(y, ranks, *entry, use.weight, tile.first, end);
  else if (type == FLOAT16 && isVectors) expandTile<FLOAT16, true>(y, ranks, *entry, use.weight, tile.first, end);
  else if (type == FLOAT16) expandTile<FLOAT16, false>(y, ranks, *entry, use.weight, tile.first, end);
  else if (isVectors) expandTile<FLOAT32, true>(y, ranks, *entry, use.weight, tile.first, end);
  else expandTile<FLOAT32, false>(y, ranks, *entry, use.weight, tile.first, end);
}
