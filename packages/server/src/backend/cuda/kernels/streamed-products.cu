// Products of up to 64 rows with a 16-bit matrix, for Hopper alone: the copy engine brings the matrix through shared memory to the
// tensor cores as fast as memory gives it, and begins before the kernel ahead is done.
#include "stream.cuh"
#include "copy-engine.cuh"
#include "warpgroup.cuh"

// Both of the matrix's evictable first, and of the rows' last, as the copy engine takes them.
constexpr unsigned long long READ_ONCE = 0x12f0000000000000ull, READ_OFTEN = 0x14f0000000000000ull;

__device__ inline void bringRows(unsigned to, const TensorMap& weights, int input, int octet, unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
      " [%0], [%1, {%2, %3, %3, %4}], [%5], %6;" ::"r"(to),
      "l"(&weights), "r"(input), "r"(0), "r"(octet), "r"(barrier), "l"(READ_ONCE)
      : "memory");
}

__device__ inline void bringColumns(unsigned to, const TensorMap& x, int input, unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
      " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(&x), "r"(input), "r"(0), "r"(barrier), "l"(READ_OFTEN)
      : "memory");
}

// Where things lie in a block's shared memory. The tensor cores may read beyond a stage's units; nobody reads what comes of it.
struct Layout {
  unsigned ring, given, full, empty, givenFull;
  int rowBytes, stageBytes;

  __device__ Layout(unsigned base, const Stream& stream, int columnBytes) {
    rowBytes = stream.passUnits * UNIT_ROWS * ROW_BYTES;
    stageBytes = rowBytes + columnBytes;
    full = base;
    empty = full + MOST_STAGES * 8;
    givenFull = empty + MOST_STAGES * 8;
    ring = (base + 1024 + 1023) & ~1023u;
    given = ring + stream.stageCount * stageBytes;
  }

  __device__ unsigned rowsOf(int stage) const { return ring + stage * stageBytes; }
  __device__ unsigned columnsOf(int stage) const { return rowsOf(stage) + rowBytes; }
};

// The units of a block, or of a pair of them, pass by pass, and in each the block's share of the inputs, chunk by chunk.
struct Schedule {
  int firstUnit, endUnit, passCount, firstChunk, chunkCount;

  __device__ Schedule(const Stream& stream, int share, int shares) {
    const int unitOutputs = stream.unitOutputs(), units = (stream.outFeatures + unitOutputs - 1) / unitOutputs;
    const int chunks = (stream.inFeatures + CHUNK_INPUTS - 1) / CHUNK_INPUTS;
    const int clusters = gridDim.x / shares, cluster = blockIdx.x / shares;
    firstUnit = units * cluster / clusters;
    endUnit = units * (cluster + 1) / clusters;
    passCount = (endUnit - firstUnit + stream.passUnits - 1) / stream.passUnits;
    firstChunk = chunks * share / shares;
    chunkCount = chunks * (share + 1) / shares - firstChunk;
  }
};

// The stage that comes next, and how often the ring went round, even or odd.
struct Cursor {
  int stage, parity;

  __device__ inline void advance(int stageCount) {
    if (++stage < stageCount) return;
    stage = 0;
    parity ^= 1;
  }
};

// A single thread.
__device__ inline void bringAll(const Stream& stream, const Layout& layout, const Schedule& schedule, const TensorMap& weights,
                                const TensorMap& x) {
  const int count = schedule.passCount * schedule.chunkCount, ahead = min(count, stream.stageCount);
  const int begin = schedule.firstChunk * CHUNK_INPUTS, end = begin + schedule.chunkCount * CHUNK_INPUTS;
  const int unitOctets = stream.unitOutputs() / OCTET;
  int input = begin, octet = schedule.firstUnit * unitOctets;
  const auto bringNext = [&](int stage) {
    expectBytes(layout.full + stage * 8, layout.stageBytes);
    bringRows(layout.rowsOf(stage), weights, input, octet, layout.full + stage * 8);
    if ((input += CHUNK_INPUTS) < end) return;
    input = begin;
    octet += stream.passUnits * unitOctets;
  };
  // The weights do not wait for what comes before.
  for (int i = 0; i < ahead; i++) bringNext(i);
  waitForPrevious();
  for (int i = 0; i < ahead; i++)
    bringColumns(layout.columnsOf(i), x, begin + i % schedule.chunkCount * CHUNK_INPUTS, layout.full + i * 8);
  Cursor cursor = {0, 0};
  for (int i = ahead; i < count; i++, cursor.advance(stream.stageCount)) {
    waitBarrier(layout.empty + cursor.stage * 8, cursor.parity);
    bringColumns(layout.columnsOf(cursor.stage), x, input, layout.full + cursor.stage * 8);
    bringNext(cursor.stage);
  }
}

// The sums of one of both rows go to the thread of the other block that has the same rows, and those of the other row come from there.
template <int COLUMNS>
__device__ inline void exchange(float (&sums)[COLUMNS / 2], const Layout& layout, const float2* given, int share) {
  const unsigned to = addressIn(layout.given, 1 - share), barrier = addressIn(layout.givenFull, 1 - share);
#pragma unroll
  for (int i = 0; i < COLUMNS / 4; i += 2) {
    const float first = share == 0 ? sums[sumOf(i, 1)] : sums[sumOf(i, 0)];
    const float second = share == 0 ? sums[sumOf(i + 1, 1)] : sums[sumOf(i + 1, 0)];
    storeThere(to + (i / 2 * MULTIPLIERS + threadIdx.x) * 8, first, second, barrier);
  }
  waitBarrier(layout.givenFull, 0);
#pragma unroll
  for (int i = 0; i < COLUMNS / 4; i += 2) {
    const float2 others = given[i / 2 * MULTIPLIERS + threadIdx.x];
#pragma unroll
    for (int half = 0; half < 2; half++) sums[sumOf(i, half)] += others.x, sums[sumOf(i + 1, half)] += others.y;
  }
}

// What the threads of a block tell each other about its columns.
template <int COLUMNS>
struct ColumnNotes {
  float factors[COLUMNS];
  float squares[MULTIPLIER_WARPS][COLUMNS];
};

__device__ inline void waitForMultipliers() { asm volatile("bar.sync 1, %0;" ::"n"(MULTIPLIERS) : "memory"); }

// What makes the factors of the columns of `x`, `1 / sqrt(mean of squares + epsilon)`: a warp has some columns, a lane some parts of each.
// Loads are under way while products are made.
template <int COLUMNS>
struct InputSquares {
  static constexpr int EACH = COLUMNS / MULTIPLIER_WARPS, HELD = 3;
  float2 held[EACH][HELD];

  __device__ inline static int firstColumn() { return threadIdx.x / 32 * EACH; }

  // Blocks that wrote them went in pairs.
  __device__ inline static float2 read(const Stream& stream, int k, int i) {
    const int column = min(firstColumn() + k, stream.columns - 1), pairs = stream.inputParts / 2;
    const float2* squares = reinterpret_cast<const float2*>(stream.inputSquares);
    return i < pairs ? squares[static_cast<Offset>(column) * pairs + i] : make_float2(0.0f, 0.0f);
  }

  __device__ inline void load(const Stream& stream) {
    waitForPrevious();
#pragma unroll
    for (int k = 0; k < EACH; k++)
#pragma unroll
      for (int i = 0; i < HELD; i++) held[k][i] = read(stream, k, threadIdx.x % 32 + i * 32);
  }

  __device__ inline void findFactors(float (&factors)[COLUMNS], const Stream& stream) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < EACH; k++) {
      float sum = 0.0f;
#pragma unroll
      for (int i = 0; i < HELD; i++) sum += held[k][i].x + held[k][i].y;
      for (int i = lane + HELD * 32; i < stream.inputParts / 2; i += 32) {
        const float2 two = read(stream, k, i);
        sum += two.x + two.y;
      }
      sum = warpSum(sum);
      if (lane == 0) factors[firstColumn() + k] = 1.0f / sqrtf(sum / stream.inFeatures + stream.epsilon);
    }
  }
};

// The squares of all outputs of the block, column by column.
template <int COLUMNS>
__device__ inline void writeSquares(float (&squares)[COLUMNS / 4], const Stream& stream,
                                    float (&partial)[MULTIPLIER_WARPS][COLUMNS]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < COLUMNS / 4; i++) {
    for (int distance = 16; distance > 2; distance /= 2) squares[i] += __shfl_xor_sync(0xffffffffu, squares[i], distance);
    if (lane < 4) partial[warp][columnOf(i)] = squares[i];
  }
  waitForMultipliers();
  const int column = threadIdx.x;
  if (column >= stream.columns) return;
  float sum = 0.0f;
  for (int other = 0; other < MULTIPLIER_WARPS; other++) sum += partial[other][column];
  stream.squares[static_cast<Offset>(column) * gridDim.x + blockIdx.x] = sum;
}

// The sums of a warpgroup over the block's share of the inputs.
template <int TYPE, int COLUMNS, int TILES>
__device__ inline void multiplyPass(float (&sums)[TILES][COLUMNS / 2], const Layout& layout, int stageCount, int chunkCount,
                                    int group, Cursor& cursor) {
  const bool speaks = threadIdx.x % 32 == 0;
  int before = 0;
  for (int chunk = 0; chunk < chunkCount; chunk++) {
    waitBarrier(layout.full + cursor.stage * 8, cursor.parity);
    beginSums();
#pragma unroll
    for (int k = 0; k < TILES; k++) {
      const unsigned tile = layout.rowsOf(cursor.stage) + (k * WARPGROUPS + group) * TILE_UNITS * UNIT_ROWS * ROW_BYTES;
#pragma unroll
      for (int step = 0; step < CHUNK_INPUTS / 16; step++)
        multiplyTile<TYPE, COLUMNS>(sums[k], describeTile(tile + step * 32),
                                    describeTile(layout.columnsOf(cursor.stage) + step * 32), chunk > 0 || step > 0);
    }
    endSums();
    waitForSums<1>();
    if (chunk > 0 && speaks) arrive(layout.empty + before * 8);
    before = cursor.stage;
    cursor.advance(stageCount);
  }
  waitForSums<0>();
  if (speaks) arrive(layout.empty + before * 8);
}

template <int TYPE, int COLUMNS, int SHARES>
__device__ inline void multiplyAll(const Stream& stream, const Layout& layout, const Schedule& schedule, const float2* given,
                                   int share, ColumnNotes<COLUMNS>& notes) {
  constexpr int TILES = SHARES == 1 ? 2 : 1;
  // The compiler has to see that the group is the same for a whole warp.
  const int group = __shfl_sync(0xffffffffu, threadIdx.x / GROUP_THREADS, 0), warp = threadIdx.x / 32 % 4;
  const auto unitOf = [&](int k) { return (k * WARPGROUPS + group) * TILE_UNITS + warp; };
  const auto outputOf = [&](int unit) { return unit * stream.unitOutputs() + static_cast<int>(threadIdx.x) % 32 / 4; };
  if (SHARES > 1 && threadIdx.x == 0) expectBytes(layout.givenFull, MULTIPLIERS * COLUMNS);
  InputSquares<COLUMNS> inputSquares;
  if (stream.inputSquares != nullptr) inputSquares.load(stream);
  Epilogue<COLUMNS> epilogue;
  if (SHARES > 1) epilogue.load(stream, outputOf(schedule.firstUnit + unitOf(0)) + share * OCTET);
  Cursor cursor = {0, 0};
  for (int pass = 0; pass < schedule.passCount; pass++) {
    const int first = schedule.firstUnit + pass * stream.passUnits, end = min(first + stream.passUnits, schedule.endUnit);
    constexpr bool HOLDS = SHARES == 1 && COLUMNS <= HELD_ADDENDS;
    AddendPair<COLUMNS> held[TILES];
#pragma unroll
    for (int k = 0; HOLDS && k < TILES; k++) held[k].load(stream, outputOf(first + unitOf(k)));
    float sums[TILES][COLUMNS / 2];
    multiplyPass<TYPE, COLUMNS, TILES>(sums, layout, stream.stageCount, schedule.chunkCount, group, cursor);
    if (pass == 0 && stream.inputSquares != nullptr) {
      inputSquares.findFactors(notes.factors, stream);
      waitForMultipliers();
    }
    if constexpr (SHARES > 1) {
      waitForCluster();
      exchange<COLUMNS>(sums[0], layout, given, share);
      const int unit = first + unitOf(0), output = outputOf(unit) + share * OCTET;
      epilogue.addends.addTo(sums[0], share);
      float squares[COLUMNS / 4] = {};
      if (unit < end) writeOwnRow<TYPE, COLUMNS>(sums[0], share, stream, output, notes.factors, epilogue, squares);
      if (stream.squares != nullptr) writeSquares<COLUMNS>(squares, stream, notes.squares);
    } else {
#pragma unroll
      for (int k = 0; k < TILES; k++) {
        const int unit = first + unitOf(k);
        if (!HOLDS) held[k].load(stream, outputOf(unit));
        held[k].addTo(sums[k]);
        if (unit < end) writeRows<TYPE, COLUMNS>(sums[k], stream, outputOf(unit), notes.factors);
      }
    }
  }
}

template <int TYPE, int COLUMNS, int SHARES>
__device__ inline void multiplyStream(const TensorMap& weights, const TensorMap& x, const Stream& stream) {
  extern __shared__ unsigned char memory[];
  __shared__ ColumnNotes<COLUMNS> notes;
  const unsigned base = sharedAddress(memory);
  const Layout layout(base, stream, COLUMNS * ROW_BYTES);
  const int share = blockIdx.x % SHARES;
  const Schedule schedule(stream, share, SHARES);
  const bool brings = threadIdx.x == MULTIPLIERS;
  letNextBegin();
  if (brings) {
    for (int stage = 0; stage < stream.stageCount; stage++) {
      initBarrier(layout.full + stage * 8, 1);
      initBarrier(layout.empty + stage * 8, MULTIPLIER_WARPS);
    }
    initBarrier(layout.givenFull, 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if constexpr (SHARES > 1) arriveInCluster();
  if (threadIdx.x < MULTIPLIERS) {
    const float2* given = reinterpret_cast<const float2*>(memory + (layout.given - base));
    multiplyAll<TYPE, COLUMNS, SHARES>(stream, layout, schedule, given, share, notes);
    return;
  }
  if (brings) bringAll(stream, layout, schedule, weights, x);
  __syncwarp();
  if constexpr (SHARES > 1) waitForCluster();
}

template <int COLUMNS, int SHARES>
__device__ inline void multiplyProduct(const TensorMap& weights, const TensorMap& x, int type, const Stream& stream) {
  if (type == FLOAT16) multiplyStream<FLOAT16, COLUMNS, SHARES>(weights, x, stream);
  else multiplyStream<BFLOAT16, COLUMNS, SHARES>(weights, x, stream);
}

// `x` is `[columns, in]`, the matrix `[out, in]`, or `[2 * out, in]` of a gated product. Outputs that nobody needs are null; rounded ones
// are of the matrix's type.
extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_8(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<8, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}

extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_32(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<32, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}

extern "C" __global__ void __launch_bounds__(STREAM_THREADS, 1) stream_64(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int isGated, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns) {
  multiplyProduct<64, 1>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, isGated, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns});
}

// The same by pairs of blocks, of which each has half of the inputs, in one pass: for matrices of few outputs.
extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_8(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<8, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_32(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<32, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(STREAM_THREADS, 1) stream_in_pairs_64(
    const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x, int type, float* y, void* rounded,
    int columns, int inFeatures, int outFeatures, int passUnits, int stageCount, const float* inputSquares,
    int inputParts, float epsilon, const float* addend, const unsigned long long* addendColumns, const float* residual,
    const float* scales, float* squares) {
  multiplyProduct<64, 2>(weights, x, type,
                         {y, rounded, columns, inFeatures, outFeatures, 0, passUnits, stageCount, inputSquares,
                          inputParts, epsilon, addend, addendColumns, residual, scales, squares});
}
