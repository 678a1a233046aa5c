// What adapters do beside the products with their factors: whole weights of their own, and rows of the token table.
#include "adapters.cuh"

// Whose block does what all shares of the rows' adapters want once.
__device__ inline bool isFirstShare(const Use& use) { return use.isFirst && use.share == 0; }

__device__ inline int rowAt(const Use& use, int i) {
  int row = use.rows[0] + i;
#pragma unroll
  for (int j = 0; j < SHARED_ROWS; j++)
    if (i == j) row = use.rows[j];
  return row;
}

// `W[output] x` of the rows, by a warp.
template <int TYPE>
__device__ inline void dotRows(float (&sums)[SHARED_ROWS], const float* x, const Offset (&rowStarts)[SHARED_ROWS],
                               int rowCount, const void* weight, int type, Offset start, int inFeatures) {
  constexpr int X_TYPE = TYPE == ANY_TYPE ? ANY_TYPE : FLOAT32;
  for (int i = threadIdx.x % 32 * 8; i < inFeatures; i += 32 * 8) {
    float ws[8], xs[8];
    widenEight<TYPE>(ws, loadEight<TYPE>(weight, type, start + i, inFeatures - i));
#pragma unroll
    for (int row = 0; row < SHARED_ROWS; row++) {
      if (row >= rowCount) break;
      widenEight<X_TYPE>(xs, loadEight<X_TYPE>(x, FLOAT32, rowStarts[row] + i, inFeatures - i));
#pragma unroll
      for (int e = 0; e < 8; e++) sums[row] = fmaf(xs[e], ws[e], sums[row]);
    }
  }
}

// Of the last of the rows' adapters that replaces the weight.
__device__ inline const Entry* findReplacement(const Use* uses, int index, int place) {
  const Entry* found = &NOTHING;
  do {
    const Use use = uses[index];
    const Entry* entry = entryAt(use, place);
    if (entry->replacement != nullptr) found = entry;
    index = use.next;
  } while (index != 0);
  return found;
}

// Blocks `[tile of outputs, use, four rows of the use]`, a warp for an output at a time, in float32 whatever the weights are.
extern "C" __global__ void replace_rows(const float* x, int stride, const Use* uses, int inFeatures, int outputsPerTile,
                                        float* y0, int stride0, int place0, int out0, float* y1, int stride1, int place1,
                                        int out1, float* y2, int stride2, int place2, int out2, float* y3, int stride3,
                                        int place3, int out3) {
  beginKernel();
  const Use use = uses[blockIdx.y];
  const int first = blockIdx.z * SHARED_ROWS, rowCount = min(SHARED_ROWS, use.rowCount - first);
  if (!isFirstShare(use) || rowCount <= 0) return;
  const Target targets[] = {{y0, stride0, place0, out0}, {y1, stride1, place1, out1},
                            {y2, stride2, place2, out2}, {y3, stride3, place3, out3}};
  const OutputTile tile = findTile(targets, blockIdx.x, outputsPerTile);
  const Target& target = tile.target;
  const Entry* entry = findReplacement(uses, blockIdx.y, target.place);
  if (entry == &NOTHING) return;
  const void* weight = entry->replacement;
  const int type = entry->replacementType, end = min(tile.first + outputsPerTile, target.outFeatures);
  const bool isVectors = readsByEight(weight, inFeatures) && readsByEight(x, stride);
  Offset rowStarts[SHARED_ROWS];
#pragma unroll
  for (int row = 0; row < SHARED_ROWS; row++)
    rowStarts[row] = static_cast<Offset>(rowAt(use, first + min(row, rowCount - 1))) * stride;
  for (int output = tile.first + threadIdx.x / 32; output < end; output += blockDim.x / 32) {
    const Offset start = static_cast<Offset>(output) * inFeatures;
    float sums[SHARED_ROWS] = {};
    if (!isVectors) dotRows<ANY_TYPE>(sums, x, rowStarts, rowCount, weight, type, start, inFeatures);
    else if (type == BFLOAT16) dotRows<BFLOAT16>(sums, x, rowStarts, rowCount, weight, type, start, inFeatures);
    else if (type == FLOAT16) dotRows<FLOAT16>(sums, x, rowStarts, rowCount, weight, type, start, inFeatures);
    else dotRows<FLOAT32>(sums, x, rowStarts, rowCount, weight, type, start, inFeatures);
#pragma unroll
    for (int row = 0; row < SHARED_ROWS; row++) {
      const float sum = warpSum(sums[row]);
      if (threadIdx.x % 32 == 0 && row < rowCount)
        target.y[static_cast<Offset>(rowAt(use, first + row)) * target.stride + output] = sum;
    }
  }
}

// The token table, whose input is a token: a column of A, a row of the whole table. Blocks `[outputs, use, row of the use]`, a thread for each output.
extern "C" __global__ void embed_adapters(float* y, int stride, const int* tokens, const Use* uses, int place,
                                          int vocabSize, int hiddenSize) {
  beginKernel();
  const Use head = uses[blockIdx.y];
  const int out = blockIdx.x * blockDim.x + threadIdx.x;
  if (!isFirstShare(head) || blockIdx.z >= head.rowCount || out >= hiddenSize) return;
  const int row = rowAt(head, blockIdx.z);
  const Offset token = tokens[row];
  float* at = y + static_cast<Offset>(row) * stride + out;
  float value = *at;
  int index = blockIdx.y;
  do {
    const Use use = uses[index];
    index = use.next;
    const Entry* entry = entryAt(use, place);
    if (entry == &NOTHING) continue;
    if (entry->replacement != nullptr)
      value = loadElement(entry->replacement, entry->replacementType, token * hiddenSize + out);
    float delta = 0.0f;
    for (int r = 0; r < entry->rank; r++) {
      const float b = loadElement(entry->b, entry->bType, static_cast<Offset>(out) * entry->rank + r);
      delta += b * loadElement(entry->a, entry->aType, static_cast<Offset>(r) * vocabSize + token);
    }
    value += delta * entry->scale * use.weight;
  } while (index != 0);
  *at = value;
}
