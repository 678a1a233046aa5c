// A streamed product: what it is told to do, and what becomes of its sums on their way out: what adapters add to them, a norm's factor, a gate,
// a residual.
#pragma once
#include "elements.cuh"

// A warp's rows of the matrix at a time: 16 outputs, or eight with a gate for each.
constexpr int UNIT_ROWS = 16;
// What the copy engine counts rows in, so that gates and what they let through come side by side.
constexpr int OCTET = 8;
// Inputs that are brought at once: rows of 128 bytes, which the copy engine swizzles.
constexpr int CHUNK_INPUTS = 64;
constexpr int ROW_BYTES = 2 * CHUNK_INPUTS;
// What a warpgroup multiplies at once.
constexpr int TILE_UNITS = 4;
constexpr int WARPGROUPS = 2;
constexpr int GROUP_THREADS = 128;
// Of a block: those that multiply, and a warp that has the matrix brought.
constexpr int MULTIPLIERS = WARPGROUPS * GROUP_THREADS;
constexpr int STREAM_THREADS = MULTIPLIERS + 32;
constexpr int MULTIPLIER_WARPS = MULTIPLIERS / 32;
constexpr int MOST_STAGES = 16;
// Columns for which a thread has registers for what is added while it multiplies.
constexpr int HELD_ADDENDS = 32;

// What to compute, how many units at once, a pass, and with how many stages under way. Of a gated product the matrix is that of the
// gates and then that of what they let through.
struct Stream {
  float* y;
  void* rounded;
  int columns, inFeatures, outFeatures, isGated, passUnits, stageCount;
  // Of each column of `x` and each of so many parts of it: of the norm by whose factor outputs are multiplied. Or null.
  const float* inputSquares;
  int inputParts;
  float epsilon;
  // Added to the products before that factor, as wide as the matrix has rows: to those columns whose bits are set. Or null.
  const float* addend;
  const unsigned long long* addendColumns;
  // Added to the outputs, `[columns, out]`. Or null, as the rest.
  const float* residual;
  // By which outputs are multiplied before they are rounded: those of a norm whose factor the next product brings, `[out]`.
  const float* scales;
  // Of each column and block: for that factor.
  float* squares;

  __device__ int unitOutputs() const { return isGated ? UNIT_ROWS / 2 : UNIT_ROWS; }
};

// Of each tile a warp has 16 rows, and a lane two: row `lane / 4` and the eighth after it. In each it has two neighbours of every eight
// columns. The column of its number `i` in a row, and where that is among its sums.
__device__ inline int columnOf(int i) { return i / 2 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2; }
__device__ constexpr int sumOf(int i, int half) { return i / 2 * 4 + half * 2 + i % 2; }

struct Place {
  int output, column;

  __device__ bool isIn(const Stream& stream) const { return output < stream.outFeatures && column < stream.columns; }
  __device__ Offset at(const Stream& stream) const { return static_cast<Offset>(column) * stream.outFeatures + output; }
};

// What is added to the products of one of a lane's rows.
template <int COLUMNS>
struct Addends {
  float values[COLUMNS / 4];

  // Row `row` of the matrix is that of `output`.
  __device__ inline void load(const Stream& stream, int output, int row) {
    const unsigned long long columns = stream.addend != nullptr ? *stream.addendColumns : 0;
    const int rowCount = stream.isGated ? 2 * stream.outFeatures : stream.outFeatures;
    if (columns != 0) waitForPrevious();
    // Unknown to the compiler: places that it worked out once for all passes would take registers that sums need.
    int none = 0;
    asm volatile("" : "+r"(none));
#pragma unroll
    for (int i = 0; i < COLUMNS / 4; i++) {
      const Place place = {output, columnOf(i) + none};
      const bool isThere = columns >> place.column & place.isIn(stream);
      values[i] = isThere ? stream.addend[static_cast<Offset>(place.column) * rowCount + row] : 0.0f;
    }
  }

  __device__ inline void addTo(float (&sums)[COLUMNS / 2], int half) const {
#pragma unroll
    for (int i = 0; i < COLUMNS / 4; i++) {
      if (half == 0) sums[sumOf(i, 0)] += values[i];
      else sums[sumOf(i, 1)] += values[i];
    }
  }
};

// Of both rows; of a gated product the rows of what gates let through come behind those of all gates.
template <int COLUMNS>
struct AddendPair {
  Addends<COLUMNS> upper, lower;

  __device__ inline void load(const Stream& stream, int output) {
    upper.load(stream, output, output);
    if (stream.isGated) lower.load(stream, output, stream.outFeatures + output);
    else lower.load(stream, output + OCTET, output + OCTET);
  }

  __device__ inline void addTo(float (&sums)[COLUMNS / 2]) const {
    upper.addTo(sums, 0);
    lower.addTo(sums, 1);
  }
};

// What the outputs of a lane's row are added to, and by what they are multiplied before they are rounded: loaded before they are there.
template <int COLUMNS>
struct Epilogue {
  Addends<COLUMNS> addends;
  float residual[COLUMNS / 4], scale;

  __device__ inline void load(const Stream& stream, int output) {
    scale = stream.scales != nullptr && output < stream.outFeatures ? stream.scales[output] : 1.0f;
    addends.load(stream, output, output);
    if (stream.residual == nullptr) return;
    waitForPrevious();
#pragma unroll
    for (int i = 0; i < COLUMNS / 4; i++) {
      const Place place = {output, columnOf(i)};
      residual[i] = place.isIn(stream) ? stream.residual[place.at(stream)] : 0.0f;
    }
  }
};

__device__ __noinline__ float siluOf(float x) { return x / (1.0f + expf(-x)); }

template <int TYPE>
__device__ inline void storeOutput(const Stream& stream, const Place& place, float value, float scale) {
  if (stream.y != nullptr) stream.y[place.at(stream)] = value;
  if (stream.rounded != nullptr) storeElement(stream.rounded, TYPE, place.at(stream), value * scale);
}

// Both rows of a tile that are a lane's; of a gated product the first has gates, and the second what they let through.
template <int TYPE, int COLUMNS>
__device__ inline void writeRows(const float (&sums)[COLUMNS / 2], const Stream& stream, int output, const float* factors) {
#pragma unroll
  for (int i = 0; i < COLUMNS / 4; i++) {
    const Place first = {output, columnOf(i)}, second = {output + OCTET, columnOf(i)};
    const float factor = stream.inputSquares != nullptr ? factors[first.column] : 1.0f;
    const float upper = sums[sumOf(i, 0)] * factor, lower = sums[sumOf(i, 1)] * factor;
    if (first.isIn(stream)) storeOutput<TYPE>(stream, first, stream.isGated ? siluOf(upper) * lower : upper, 1.0f);
    if (!stream.isGated && second.isIn(stream)) storeOutput<TYPE>(stream, second, lower, 1.0f);
  }
}

// The one row of a tile that is a lane's where blocks go in pairs. Returns the squares of its outputs.
template <int TYPE, int COLUMNS>
__device__ inline void writeOwnRow(const float (&sums)[COLUMNS / 2], int half, const Stream& stream, int output,
                                   const float* factors, const Epilogue<COLUMNS>& epilogue, float (&squares)[COLUMNS / 4]) {
#pragma unroll
  for (int i = 0; i < COLUMNS / 4; i++) {
    const Place place = {output, columnOf(i)};
    const float factor = stream.inputSquares != nullptr ? factors[place.column] : 1.0f;
    float value = (half == 0 ? sums[sumOf(i, 0)] : sums[sumOf(i, 1)]) * factor;
    if (stream.residual != nullptr) value += epilogue.residual[i];
    if (!place.isIn(stream)) continue;
    storeOutput<TYPE>(stream, place, value, epilogue.scale);
    squares[i] = value * value;
  }
}
