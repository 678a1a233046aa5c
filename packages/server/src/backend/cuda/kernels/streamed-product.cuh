// A streamed product of up to 64 rows with a 16-bit matrix, by a block alone or by a pair of blocks of which each has half of the inputs: what a
// block's warps do with the stages that are brought to it, to its last output.
#pragma once
#include "streamed-stages.cuh"
#include "warpgroup.cuh"

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
