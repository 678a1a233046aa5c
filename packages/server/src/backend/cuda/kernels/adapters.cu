// Adapters' products for any mix of adapters and ranks. Each row has a list of uses, each use an adapter's table of what it does at
// the places of the model; the layouts are those of adapter-table.ts and adapter-uses.ts.
#include "elements.cuh"

struct Entry {
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

struct Use {
  const Entry* table;
  int entryCount;
  float weight;
  int row;
  int unused;
};

// Null where the adapter does nothing at the place.
__device__ inline const Entry* entryAt(const Use& use, int place) {
  return place < use.entryCount ? use.table + place : nullptr;
}

__device__ inline float warpDot(const float* x, const void* row, int type, Offset start, int length) {
  float sum = 0.0f;
  for (int i = threadIdx.x % 32; i < length; i += 32) sum += x[i] * loadElement(row, type, start + i);
  return warpSum(sum);
}

// A warp for each use and rank: `shrunk[use, r] = weight * scale * A[r] x`.
extern "C" __global__ void shrink_rows(float* shrunk, const float* x, const Use* uses, int place, int inFeatures,
                                       int largestRank) {
  const Use use = uses[blockIdx.x];
  const Entry* entry = entryAt(use, place);
  const int r = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
  if (entry == nullptr || r >= entry->rank) return;
  const float* row = x + static_cast<Offset>(use.row) * inFeatures;
  const float sum = warpDot(row, entry->a, entry->aType, static_cast<Offset>(r) * inFeatures, inFeatures);
  if (threadIdx.x % 32 == 0) shrunk[static_cast<Offset>(blockIdx.x) * largestRank + r] = sum * entry->scale * use.weight;
}

// A warp for each use and output, in float32 whatever the weights are.
extern "C" __global__ void replace_rows(float* y, const float* x, const Use* uses, int place, int inFeatures,
                                        int outFeatures) {
  const Use use = uses[blockIdx.x];
  const Entry* entry = entryAt(use, place);
  const int out = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
  if (entry == nullptr || entry->replacement == nullptr || out >= outFeatures) return;
  const float* row = x + static_cast<Offset>(use.row) * inFeatures;
  const Offset start = static_cast<Offset>(out) * inFeatures;
  const float sum = warpDot(row, entry->replacement, entry->replacementType, start, inFeatures);
  if (threadIdx.x % 32 == 0) y[static_cast<Offset>(use.row) * outFeatures + out] = sum;
}

// A thread for each output, a row of blocks for each row: `y = y * scales + biases + B shrunk`, over all uses of the row.
extern "C" __global__ void expand_rows(float* y, const float* shrunk, const Use* uses, const int* useStarts, int place,
                                       int outFeatures, int largestRank) {
  const int out = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
  if (out >= outFeatures) return;
  float factor = 1.0f, addend = 0.0f;
  for (int i = useStarts[row]; i < useStarts[row + 1]; i++) {
    const Use use = uses[i];
    const Entry* entry = entryAt(use, place);
    if (entry == nullptr) continue;
    const float outputScale = entry->outputScale == nullptr ? 1.0f : entry->outputScale[out];
    factor *= outputScale;
    if (entry->outputBias != nullptr) addend += use.weight * entry->outputBias[out];
    float delta = 0.0f;
    for (int r = 0; r < entry->rank; r++) {
      const float b = loadElement(entry->b, entry->bType, static_cast<Offset>(out) * entry->rank + r);
      delta += b * shrunk[static_cast<Offset>(i) * largestRank + r];
    }
    addend += outputScale * delta;
  }
  const Offset at = static_cast<Offset>(row) * outFeatures + out;
  y[at] = y[at] * factor + addend;
}

// The same at the token table, whose input is a token: a column of A, a row of the replacement.
extern "C" __global__ void embed_adapters(float* y, const int* tokens, const Use* uses, const int* useStarts, int place,
                                          int vocabSize, int hiddenSize) {
  const int out = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
  if (out >= hiddenSize) return;
  const Offset at = static_cast<Offset>(row) * hiddenSize + out, token = tokens[row];
  float value = y[at];
  for (int i = useStarts[row]; i < useStarts[row + 1]; i++) {
    const Use use = uses[i];
    const Entry* entry = entryAt(use, place);
    if (entry == nullptr) continue;
    if (entry->replacement != nullptr)
      value = loadElement(entry->replacement, entry->replacementType, token * hiddenSize + out);
    float delta = 0.0f;
    for (int r = 0; r < entry->rank; r++) {
      const float b = loadElement(entry->b, entry->bType, static_cast<Offset>(out) * entry->rank + r);
      delta += b * loadElement(entry->a, entry->aType, static_cast<Offset>(r) * vocabSize + token);
    }
    value += delta * entry->scale * use.weight;
  }
  y[at] = value;
}
