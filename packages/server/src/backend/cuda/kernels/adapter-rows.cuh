// What the kernels of adapters' products with few rows at a time share: those of decode steps, with sums in float32 whatever the factors are. Blocks
// are shared out by the ranks that adapters have, and read their factors all at once, before the kernel waits for its input.
#pragma once
#include "adapters.cuh"

// Warps that a multiprocessor has registers for: with more of them, each would have too few for what it has under way.
constexpr int RESIDENT_WARPS = 16;

// Shrunk rows are `[share, row, projection, part, rank of the share]` float32, where the parts are those of the inner dimension.
struct ShrunkShape {
  int rowCount, projectionCount, partCount;
};

__device__ inline Offset shrunkOffset(const ShrunkShape& shape, int share, int row, int projection, int part) {
  const Offset line = (static_cast<Offset>(share) * shape.rowCount + row) * shape.projectionCount + projection;
  return (line * shape.partCount + part) * SHARE_RANKS;
}

// Sums of as many numbers as there are lanes, `distance` apart and less: each lane gets that of its own place among them.
template <int COUNT>
__device__ inline float sumLanes(float (&values)[COUNT], int distance) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int kept = COUNT / 2; kept > 0; kept /= 2, distance /= 2) {
    const bool isUpper = (lane & distance) != 0;
#pragma unroll
    for (int j = 0; j < kept; j++) {
      const float mine = isUpper ? values[j + kept] : values[j], given = isUpper ? values[j] : values[j + kept];
      values[j] = mine + __shfl_xor_sync(WHOLE_WARP, given, distance);
    }
  }
  return values[0];
}
