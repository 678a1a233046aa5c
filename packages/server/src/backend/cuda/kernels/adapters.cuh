// What adapters do to rows, as adapter-table.ts and use-table.ts lay it out, and what the kernels of their products share. All
// projections of one input go together: `shrink` multiplies by A, `expand` by B. What a row gets does not depend on the rows
// beside it: sums are split by the shape of the model alone. No adapter changes while kernels run, so that they may read
// tables and factors before they wait for what comes before.
#pragma once
#include "elements.cuh"

struct alignas(16) Entry {
  // `[rank, in]` and `[out, rank]`.
  const void* a;
  const void* b;
  // DoRA's factor and the addend, `[out]`; null where there is none.
  const float* outputScale;
  const float* outputBias;
  // `[out, in]`, null where the base weight stays.
  const void* replacement;
  int rank, aType, bType, replacementType;
  float scale;
  int unused;
};

// Eight ranks or fewer of an adapter of some rows that have the same adapters: a share of the adapter's use. A tile is a use in one
// share. Padding has no entries.
struct alignas(16) Use {
  const Entry* table;
  int entryCount;
  float weight;
  // The first four; behind the last it stands again. Those of a tile are neighbours.
  int rows[4];
  int rowCount;
  // The first share of the rows' next adapter, 0 after the last.
  int next;
  // Of the rows' first adapter.
  int isFirst;
  int share, shareCount;
  int unused[3];
};

// Of the use of a `_rows` kernel, at most, and of a `_tiles` kernel.
constexpr int SHARED_ROWS = 4;
constexpr int TILE_ROWS = 64;

// Of a share.
constexpr int SHARE_RANKS = 8;

constexpr int MOST_PROJECTIONS = 4;
constexpr unsigned WHOLE_WARP = 0xffffffffu;

// What an adapter does at a place where it does nothing. Compilers read of an entry before they know whether it is wanted, so that
// there must always be one.
static __device__ const Entry NOTHING = {};

__device__ inline const Entry* entryAt(const Use& use, int place) {
  return place < use.entryCount ? use.table + place : &NOTHING;
}

__device__ inline int ceilDivide(int a, int b) { return (a + b - 1) / b; }

__device__ inline bool isAligned(const void* memory, int bytes) {
  return reinterpret_cast<Offset>(memory) % bytes == 0;
}

// The number at `index`.
__device__ inline const void* numberAt(const void* memory, int type, Offset index) {
  return static_cast<const char*>(memory) + index * (type == FLOAT32 ? 4 : 2);
}

// One of the projections that share an input: their outputs, and where adapters list what they do to them.
struct Target {
  float* y;
  int stride, place, outFeatures;
};

// Outputs of one projection that a block computes.
struct OutputTile {
  Target target;
  int projection, first;
};

// Tiles are counted through all projections.
__device__ inline OutputTile findTile(const Target (&targets)[MOST_PROJECTIONS], int tile, int outputsPerTile) {
  OutputTile found = {targets[0], 0, 0};
  int start = 0;
#pragma unroll
  for (int p = 0; p < MOST_PROJECTIONS; p++) {
    const int count = ceilDivide(targets[p].outFeatures, outputsPerTile);
    if (tile >= start && tile < start + count) found = {targets[p], p, (tile - start) * outputsPerTile};
    start += count;
  }
  return found;
}

__device__ inline int placeOf(int projection, const int (&places)[MOST_PROJECTIONS]) {
  int place = places[0];
#pragma unroll
  for (int p = 1; p < MOST_PROJECTIONS; p++)
    if (projection == p) place = places[p];
  return place;
}

// ---- Eight neighbours at a time

// What a loader need not know before it runs.
constexpr int ANY_TYPE = -1;

__device__ inline float lowerOf(unsigned pair, int type) {
  return type == FLOAT16 ? widenFloat16(static_cast<Bits16>(pair)) : __uint_as_float(pair << 16);
}

__device__ inline float upperOf(unsigned pair, int type) {
  return type == FLOAT16 ? widenFloat16(static_cast<Bits16>(pair >> 16)) : __uint_as_float(pair & 0xffff0000u);
}

// As they come from memory, so that many can be under way.
template <int TYPE>
struct Eight {
  uint4 words;
};

template <>
struct Eight<FLOAT32> {
  float4 first, second;
};

template <>
struct Eight<ANY_TYPE> {
  float values[8];
};

// With a type that is known beforehand the memory is aligned to 16 bytes and `count` is 8 at least; what lies beyond it is 0.
template <int TYPE>
__device__ inline Eight<TYPE> loadEight(const void* memory, int type, Offset start, int count) {
  if constexpr (TYPE == ANY_TYPE) {
    Eight<TYPE> eight;
#pragma unroll
    for (int e = 0; e < 8; e++) eight.values[e] = e < count ? loadElement(memory, type, start + e) : 0.0f;
    return eight;
  } else if constexpr (TYPE == FLOAT32) {
    const float4* from = reinterpret_cast<const float4*>(static_cast<const float*>(memory) + start);
    return {from[0], from[1]};
  } else {
    return {loadOnce(reinterpret_cast<const uint4*>(static_cast<const Bits16*>(memory) + start))};
  }
}

// Of 16 bits each.
__device__ inline void widenWords(float (&values)[8], const uint4& words, int type) {
  values[0] = lowerOf(words.x, type), values[1] = upperOf(words.x, type);
  values[2] = lowerOf(words.y, type), values[3] = upperOf(words.y, type);
  values[4] = lowerOf(words.z, type), values[5] = upperOf(words.z, type);
  values[6] = lowerOf(words.w, type), values[7] = upperOf(words.w, type);
}

template <int TYPE>
__device__ inline void widenEight(float (&values)[8], const Eight<TYPE>& eight) {
  if constexpr (TYPE == ANY_TYPE) {
#pragma unroll
    for (int e = 0; e < 8; e++) values[e] = eight.values[e];
  } else if constexpr (TYPE == FLOAT32) {
    values[0] = eight.first.x, values[1] = eight.first.y, values[2] = eight.first.z, values[3] = eight.first.w;
    values[4] = eight.second.x, values[5] = eight.second.y, values[6] = eight.second.z, values[7] = eight.second.w;
  } else {
    widenWords(values, eight.words, TYPE);
  }
}

// Whether rows of `length` numbers may be read eight at a time.
__device__ inline bool readsByEight(const void* memory, int length) { return length % 8 == 0 && isAligned(memory, 16); }
