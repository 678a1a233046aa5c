// How a streamed product's factors come through shared memory: a ring of stages, which a single thread has filled by the copy engine, unit by
// unit of the matrix and chunk by chunk of the inputs.
#pragma once
#include "stream.cuh"
#include "copy-engine.cuh"

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
