// Products of a warpgroup on Hopper's tensor cores, with both factors in shared memory.
#pragma once

// Rows of 128 bytes, swizzled in eights: `14 bits of address / 16, 1, eight rows / 16, swizzle`.
__device__ inline unsigned long long describeTile(unsigned address) {
  return static_cast<unsigned long long>((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

#define SUMS_4(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define SUMS_16(i) SUMS_4(i), SUMS_4(i + 4), SUMS_4(i + 8), SUMS_4(i + 12)
#define NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES_32 NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define MULTIPLY_TILE(columns, type, names, rows, x, adds, ...)                                        \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " adds ", 0;\n"                                   \
               "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" names "}, " rows \
               ", " x ", add, 1, 1, 0, 0;\n}"                                                           \
               : __VA_ARGS__                                                                            \
               : "l"(tileMap), "l"(columnMap), "r"(isAdded))
#define MULTIPLY_TILE_8(type) MULTIPLY_TILE("8", type, "%0, %1, %2, %3", "%4", "%5", "%6", SUMS_4(0))
#define MULTIPLY_TILE_32(type) MULTIPLY_TILE("32", type, NAMES_16, "%16", "%17", "%18", SUMS_16(0))
#define MULTIPLY_TILE_64(type) MULTIPLY_TILE("64", type, NAMES_32, "%32", "%33", "%34", SUMS_16(0), SUMS_16(16))

// `sums += tile columns^T` over 16 inputs, or without the `+`, for a warpgroup; done once `waitForSums` is.
template <int TYPE, int COLUMNS>
__device__ inline void multiplyTile(float (&sums)[COLUMNS / 2], unsigned long long tileMap, unsigned long long columnMap,
                                    int isAdded) {
  if constexpr (COLUMNS == 8 && TYPE == FLOAT16) MULTIPLY_TILE_8("f16");
  if constexpr (COLUMNS == 8 && TYPE == BFLOAT16) MULTIPLY_TILE_8("bf16");
  if constexpr (COLUMNS == 32 && TYPE == FLOAT16) MULTIPLY_TILE_32("f16");
  if constexpr (COLUMNS == 32 && TYPE == BFLOAT16) MULTIPLY_TILE_32("bf16");
  if constexpr (COLUMNS == 64 && TYPE == FLOAT16) MULTIPLY_TILE_64("f16");
  if constexpr (COLUMNS == 64 && TYPE == BFLOAT16) MULTIPLY_TILE_64("bf16");
}

__device__ inline void beginSums() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Of those that were begun before, all but the last so many are done.
template <int LAST>
__device__ inline void waitForSums() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LAST) : "memory");
}

__device__ inline void endSums() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
