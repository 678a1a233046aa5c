// Attention of many neighbouring rows of one sequence, in tiles on tensor cores: float16 keys, values, queries and weights, sums
// in float32. What a tile sees comes as a table; nothing here knows sequences.
#include "elements.cuh"

// As attention-plan.ts lays them out: rows from `row` on. From cell `first` on there are `before` cells before the one of that row,
// then the rows' own; each row sees those up to its own, the last `window` of them.
struct Tile {
  int row, rowCount, first, before;
};

const int TILE_ROWS = 128;
const int TILE_CELLS = 64;
// 16 rows are what the tensor cores take at once; two such strips a warp, so that each loaded key and value is used twice.
const int STRIP = 16;
const int STRIPS = 2;
const int WARP_ROWS = STRIP * STRIPS;
const int THREADS = TILE_ROWS / WARP_ROWS * 32;
const int CHUNK_BYTES = 16;
const int CHUNK = 8;
const unsigned EVERY_LANE = 0xffffffffu;
const float NOTHING_SEEN = -1e30f;
const float LOG2_E = 1.44269504089f;

__device__ inline unsigned roundPair(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ inline float powerOfTwo(float exponent) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
  return power;
}

__device__ inline float tanhOf(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 16 bytes to shared memory, of which `bytes` (16 or none) are read and the others are zeros.
__device__ inline void copyChunk(unsigned to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ inline void closeCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

__device__ inline void awaitCopies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

__device__ inline void storeChunk(unsigned to, const unsigned (&chunk)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(chunk[0]), "r"(chunk[1]), "r"(chunk[2]),
               "r"(chunk[3])
               : "memory");
}

// Four 8x8 matrices, of which each lane names one row of 16 bytes.
__device__ inline void loadMatrices(unsigned (&matrices)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(from)
               : "memory");
}

__device__ inline void loadTransposed(unsigned (&matrices)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(from)
               : "memory");
}

// `sums` [16, 8] += `a` [16, 16] times `b` [16, 8].
__device__ inline void multiplyAdd(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Rows of whole eights of chunks lie close together; others have room for one chunk more, which makes their chunks odd in number.
template <int DIM>
__device__ constexpr bool isDense() {
  return DIM / CHUNK % 8 == 0;
}

template <int DIM>
__device__ constexpr int rowBytes() {
  return (DIM / CHUNK + (isDense<DIM>() ? 0 : 1)) * CHUNK_BYTES;
}

// Where a chunk of eight numbers of a row lies, such that eight rows' chunks lie in different banks: turned by the row, where the
// length of a row does not do it.
template <int DIM>
__device__ inline unsigned chunkPlace(int row, int chunk) {
  return row * rowBytes<DIM>() + (isDense<DIM>() ? chunk ^ (row & 7) : chunk) * CHUNK_BYTES;
}

// Numbers from one row of results to the next, such that the pairs of four rows that lanes write together lie in different banks.
template <int DIM>
__device__ constexpr int resultPitch() {
  return DIM + 8;
}

// Begins to copy cells from `start` on; those from `end` on become zeros.
template <int DIM>
__device__ inline void copyCells(unsigned to, const Bits16* from, Offset cellWidth, int start, int end) {
#pragma unroll
  for (int i = threadIdx.x; i < TILE_CELLS * DIM / CHUNK; i += THREADS) {
    const int cell = i / (DIM / CHUNK), chunk = i % (DIM / CHUNK);
    const bool exists = start + cell < end;
    const Bits16* source = from + (exists ? start + cell : 0) * cellWidth + chunk * CHUNK;
    copyChunk(to + chunkPlace<DIM>(cell, chunk), source, exists ? CHUNK_BYTES : 0);
  }
}

template <int DIM>
__device__ inline void roundQueries(unsigned to, const float* q, int queryStride, int rowCount, float factor) {
  for (int i = threadIdx.x; i < TILE_ROWS * DIM / CHUNK; i += THREADS) {
    const int row = i / (DIM / CHUNK), chunk = i % (DIM / CHUNK);
    unsigned bits[4] = {0, 0, 0, 0};
    if (row < rowCount) {
      const float4* from = reinterpret_cast<const float4*>(q + static_cast<Offset>(row) * queryStride + chunk * CHUNK);
      const float4 low = from[0], high = from[1];
      bits[0] = roundPair(low.x * factor, low.y * factor);
      bits[1] = roundPair(low.z * factor, low.w * factor);
      bits[2] = roundPair(high.x * factor, high.y * factor);
      bits[3] = roundPair(high.z * factor, high.w * factor);
    }
    storeChunk(to + chunkPlace<DIM>(row, chunk), bits);
  }
}

// A lane holds of 16 rows' scores the columns `2 * (lane % 4)` and the next of every eight: elements 0 and 1 of row `lane / 4`,
// 2 and 3 of the eighth row after it.
typedef float Scores[TILE_CELLS / 8][4];

__device__ inline void capScores(Scores& scores, float softCap) {
#pragma unroll
  for (int n = 0; n < TILE_CELLS / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) scores[n][i] = tanhOf(scores[n][i]) * (softCap * LOG2_E);
  }
}

// `own` is the cell of the lane's first row, `first` that of its first column.
__device__ inline void hideScores(Scores& scores, int own, int first, int window) {
#pragma unroll
  for (int n = 0; n < TILE_CELLS / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int back = own + i / 2 * 8 - (first + n * 8 + i % 2);
      if (back < 0 || back >= window) scores[n][i] = NOTHING_SEEN;
    }
  }
}

// Scores of one of the lane's two rows become weights. Returns the factor on all sums before. A row that has seen nothing yet
// weighs what is hidden, all alike, and shrinks it to nothing at the first cell that it sees.
__device__ inline float weighScores(Scores& scores, int r, float& peak, float& total) {
  float higher = peak;
#pragma unroll
  for (int n = 0; n < TILE_CELLS / 8; n++) higher = fmaxf(higher, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
  higher = fmaxf(higher, __shfl_xor_sync(EVERY_LANE, higher, 1));
  higher = fmaxf(higher, __shfl_xor_sync(EVERY_LANE, higher, 2));
  const float shrink = powerOfTwo(peak - higher);
  peak = higher;
  total *= shrink;
#pragma unroll
  for (int n = 0; n < TILE_CELLS / 8; n++) {
#pragma unroll
    for (int i = 2 * r; i < 2 * r + 2; i++) {
      scores[n][i] = powerOfTwo(scores[n][i] - higher);
      total += scores[n][i];
    }
  }
  return shrink;
}

// A block for each head and tile. Cells come in turns to one of two places while those in the other are multiplied. Each warp
// holds for its rows the running maximum, the sum of exponentials and the weighted values. Exponents are of base 2.
template <int DIM>
__device__ inline void attendTile(const Output& output, const float* q, int queryStride, const Bits16* keys, const Bits16* values,
                                  const Tile* tiles, int headCount, int kvHeadCount, int window, float scale,
                                  float softCap) {
  extern __shared__ __align__(128) unsigned char memory[];
  const unsigned queryPlace = static_cast<unsigned>(__cvta_generic_to_shared(memory));
  const unsigned placeBytes = TILE_CELLS * rowBytes<DIM>(), cellPlace = queryPlace + TILE_ROWS * rowBytes<DIM>();
  const Tile tile = tiles[blockIdx.y];
  const int head = blockIdx.x, lane = threadIdx.x % 32, firstRow = threadIdx.x / 32 * WARP_ROWS;
  const Offset cellWidth = static_cast<Offset>(kvHeadCount) * DIM;
  const Offset cellStart = tile.first * cellWidth + head / (headCount / kvHeadCount) * DIM;
  const int end = tile.before + tile.rowCount;

  const float factor = softCap > 0.0f ? scale / softCap : scale * LOG2_E;
  const float* queries = q + static_cast<Offset>(tile.row) * queryStride + head * DIM;
  roundQueries<DIM>(queryPlace, queries, queryStride, tile.rowCount, factor);
  copyCells<DIM>(cellPlace, keys + cellStart, cellWidth, 0, end);
  copyCells<DIM>(cellPlace + placeBytes, values + cellStart, cellWidth, 0, end);
  closeCopies();

  float sums[STRIPS][DIM / 8][4], peaks[STRIPS][2], totals[STRIPS][2];
#pragma unroll
  for (int strip = 0; strip < STRIPS; strip++) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      peaks[strip][r] = NOTHING_SEEN;
      totals[strip][r] = 0.0f;
    }
#pragma unroll
    for (int n = 0; n < DIM / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) sums[strip][n][i] = 0.0f;
    }
  }
  // The cells of the warp's own rows: each row sees none after its own.
  const int earliest = tile.before + firstRow, latest = earliest + WARP_ROWS - 1;

  for (int start = 0, turn = 0; start < end; start += TILE_CELLS, turn ^= 1) {
    awaitCopies();
    __syncthreads();
    if (start + TILE_CELLS < end) {
      const unsigned other = cellPlace + (turn ^ 1) * 2 * placeBytes;
      copyCells<DIM>(other, keys + cellStart, cellWidth, start + TILE_CELLS, end);
      copyCells<DIM>(other + placeBytes, values + cellStart, cellWidth, start + TILE_CELLS, end);
      closeCopies();
    }
    const bool seesNone = start > latest || start + TILE_CELLS <= earliest - window + 1;
    if (seesNone || firstRow >= tile.rowCount) continue;

    const unsigned keyPlace = cellPlace + turn * 2 * placeBytes, valuePlace = keyPlace + placeBytes;
    float scores[STRIPS][TILE_CELLS / 8][4];
#pragma unroll
    for (int strip = 0; strip < STRIPS; strip++) {
#pragma unroll
      for (int n = 0; n < TILE_CELLS / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) scores[strip][n][i] = 0.0f;
      }
    }
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) {
      unsigned a[STRIPS][4];
#pragma unroll
      for (int strip = 0; strip < STRIPS; strip++) {
        const int row = firstRow + strip * STRIP + lane % 16;
        loadMatrices(a[strip], queryPlace + chunkPlace<DIM>(row, k * 2 + lane / 16));
      }
#pragma unroll
      for (int n = 0; n < TILE_CELLS / 16; n++) {
        unsigned b[4];
        loadMatrices(b, keyPlace + chunkPlace<DIM>(n * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++) {
          multiplyAdd(scores[strip][2 * n], a[strip], b[0], b[1]);
          multiplyAdd(scores[strip][2 * n + 1], a[strip], b[2], b[3]);
        }
      }
    }

    const bool seesAll = start + TILE_CELLS - 1 <= earliest && start > latest - window;
#pragma unroll
    for (int strip = 0; strip < STRIPS; strip++) {
      if (softCap > 0.0f) capScores(scores[strip], softCap);
      const int own = earliest + strip * STRIP + lane / 4;
      if (!seesAll) hideScores(scores[strip], own, start + lane % 4 * 2, window);
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const float shrink = weighScores(scores[strip], r, peaks[strip][r], totals[strip][r]);
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
          sums[strip][n][2 * r] *= shrink;
          sums[strip][n][2 * r + 1] *= shrink;
        }
      }
    }

#pragma unroll
    for (int k = 0; k < TILE_CELLS / 16; k++) {
      unsigned a[STRIPS][4];
#pragma unroll
      for (int strip = 0; strip < STRIPS; strip++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float(&pair)[4] = scores[strip][2 * k + i / 2];
          a[strip][i] = roundPair(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
        }
      }
#pragma unroll
      for (int n = 0; n < DIM / 16; n++) {
        unsigned b[4];
        loadTransposed(b, valuePlace + chunkPlace<DIM>(k * 16 + lane % 16, n * 2 + lane / 16));
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++) {
          multiplyAdd(sums[strip][2 * n], a[strip], b[0], b[1]);
          multiplyAdd(sums[strip][2 * n + 1], a[strip], b[2], b[3]);
        }
      }
    }
  }

  // By way of shared memory, so that neighbouring threads write neighbours.
  float* results = reinterpret_cast<float*>(memory);
  __syncthreads();
#pragma unroll
  for (int strip = 0; strip < STRIPS; strip++) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float total = totals[strip][r];
      total += __shfl_xor_sync(EVERY_LANE, total, 1);
      total += __shfl_xor_sync(EVERY_LANE, total, 2);
      float* to = results + (firstRow + strip * STRIP + lane / 4 + 8 * r) * resultPitch<DIM>() + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < DIM / 8; n++) {
        const float* pair = &sums[strip][n][2 * r];
        *reinterpret_cast<float2*>(to + n * 8) = make_float2(pair[0] / total, pair[1] / total);
      }
    }
  }
  __syncthreads();
  // Read again, to need no registers meanwhile.
  const int first = tiles[blockIdx.y].row, count = tiles[blockIdx.y].rowCount;
  for (int i = threadIdx.x; i < count * DIM; i += THREADS) {
    const int row = i / DIM, dim = i % DIM;
    const Offset at = (static_cast<Offset>(first + row) * headCount + blockIdx.x) * DIM + dim;
    output.store(at, results[row * resultPitch<DIM>() + dim]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) attend_tiles_64(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    const void* values, const Tile* tiles, int headCount, int kvHeadCount, int window, float scale, float softCap) {
  beginKernel();
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * 64};
  attendTile<64>(output, q, queryStride, static_cast<const Bits16*>(keys), static_cast<const Bits16*>(values),
                 tiles, headCount, kvHeadCount, window, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) attend_tiles_80(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    const void* values, const Tile* tiles, int headCount, int kvHeadCount, int window, float scale, float softCap) {
  beginKernel();
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * 80};
  attendTile<80>(output, q, queryStride, static_cast<const Bits16*>(keys), static_cast<const Bits16*>(values),
                 tiles, headCount, kvHeadCount, window, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) attend_tiles_96(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    const void* values, const Tile* tiles, int headCount, int kvHeadCount, int window, float scale, float softCap) {
  beginKernel();
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * 96};
  attendTile<96>(output, q, queryStride, static_cast<const Bits16*>(keys), static_cast<const Bits16*>(values),
                 tiles, headCount, kvHeadCount, window, scale, softCap);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) attend_tiles_128(
    float* y, void* rounded, int roundedType, int isSplit, int rowCount, const float* q, int queryStride, const void* keys,
    const void* values, const Tile* tiles, int headCount, int kvHeadCount, int window, float scale, float softCap) {
  beginKernel();
  const Output output = {y, rounded, roundedType, isSplit, static_cast<Offset>(rowCount) * headCount * 128};
  attendTile<128>(output, q, queryStride, static_cast<const Bits16*>(keys), static_cast<const Bits16*>(values),
                  tiles, headCount, kvHeadCount, window, scale, softCap);
}
