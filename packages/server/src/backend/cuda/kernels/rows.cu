// Operations on the rows of a value, `[rows, width]` float32: everything between the products and attention.
#include "elements.cuh"

// A block a row.
extern "C" __global__ void embed_rows(float* y, const void* table, int type, const int* tokens, int width) {
  beginKernel();
  const Offset from = static_cast<Offset>(tokens[blockIdx.x]) * width, to = static_cast<Offset>(blockIdx.x) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[to + i] = loadElement(table, type, from + i);
}

// Numbers of a norm that each thread keeps at hand; of larger ones the others are read twice.
const int HELD = 8;

// A block for each `size` neighbours, `parts` of them in a row: a whole row, or a head of it. Where there is a `b`, the norm is that
// of `a + b`, which goes to `sum`. Outputs that nobody needs are null.
extern "C" __global__ void __launch_bounds__(512) norm_rows(float* y, void* rounded, int roundedType, int isSplit,
                                                            float* sum, const float* a, int aStride, const float* b,
                                                            int bStride, const float* weight, int size, int parts,
                                                            float epsilon) {
  const Offset row = blockIdx.x / parts, part = blockIdx.x % parts;
  const Offset to = blockIdx.x * static_cast<Offset>(size), count = gridDim.x * static_cast<Offset>(size);
  const float* first = a + row * aStride + part * size;
  const float* second = b == nullptr ? nullptr : b + row * bStride + part * size;
  const auto valueAt = [&](int i) { return second == nullptr ? first[i] : first[i] + second[i]; };
  const auto write = [&](int i, float value) {
    if (y != nullptr) y[to + i] = value;
    if (rounded != nullptr) storeRounded(rounded, roundedType, isSplit, to + i, count, value);
  };
  float values[HELD], weights[HELD], squares = 0.0f;
  letNextBegin();
  // The weights do not wait for what comes before.
#pragma unroll
  for (int k = 0; k < HELD; k++) {
    const int i = threadIdx.x + k * blockDim.x;
    weights[k] = i < size ? weight[i] : 0.0f;
  }
  waitForPrevious();
#pragma unroll
  for (int k = 0; k < HELD; k++) {
    const int i = threadIdx.x + k * blockDim.x;
    values[k] = i < size ? valueAt(i) : 0.0f;
    squares += values[k] * values[k];
  }
  for (int i = threadIdx.x + HELD * blockDim.x; i < size; i += blockDim.x) squares += valueAt(i) * valueAt(i);
  const float factor = 1.0f / sqrtf(blockSum(squares) / size + epsilon);
#pragma unroll
  for (int k = 0; k < HELD; k++) {
    const int i = threadIdx.x + k * blockDim.x;
    if (i >= size) break;
    if (sum != nullptr) sum[to + i] = values[k];
    write(i, values[k] * factor * weights[k]);
  }
  for (int i = threadIdx.x + HELD * blockDim.x; i < size; i += blockDim.x) {
    const float value = valueAt(i);
    if (sum != nullptr) sum[to + i] = value;
    write(i, value * factor * weight[i]);
  }
}

struct Turn {
  float cosine, sine;
};

__device__ inline Turn turnOf(const float* frequencies, int position, int pair, float attentionFactor) {
  Turn turn;
  sincosf(static_cast<float>(position) * frequencies[pair], &turn.sine, &turn.cosine);
  turn.sine *= attentionFactor;
  turn.cosine *= attentionFactor;
  return turn;
}

// A block for each row and head: first those of the queries, which are turned, then those of the keys, which are turned and go to their
// cells, then those of the values, which go there as they are. A thread turns the pair `(i, i + headDim / 2)`.
extern "C" __global__ void rotate_and_store(float* y, const float* q, int qStride, const float* k, int kStride,
                                            const float* v, int vStride, void* keys, int keyType, void* values,
                                            int valueType, const int* cells, const int* positions,
                                            const float* frequencies, int headCount, int kvHeadCount, int headDim,
                                            float attentionFactor) {
  letNextBegin();
  const int half = headDim / 2, row = blockIdx.x, head = blockIdx.y;
  const bool isQuery = head < headCount, isKey = !isQuery && head < headCount + kvHeadCount;
  const int kvHead = isQuery ? 0 : (head - headCount) % kvHeadCount;
  const float* from = isQuery ? q + static_cast<Offset>(row) * qStride + head * headDim
                     : isKey  ? k + static_cast<Offset>(row) * kStride + kvHead * headDim
                              : v + static_cast<Offset>(row) * vStride + kvHead * headDim;
  const Offset cell = static_cast<Offset>(cells[row]) * kvHeadCount * headDim + kvHead * headDim;
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    Turn turn = {1.0f, 0.0f};
    // The step's inputs are there before any of its kernels begins; nothing is left to wait for at a thread's second pair.
    if (isQuery || isKey) turn = turnOf(frequencies, positions[row], i, attentionFactor);
    waitForPrevious();
    float first = from[i], second = from[i + half];
    if (isQuery || isKey) {
      const float turned = first * turn.cosine - second * turn.sine;
      second = second * turn.cosine + first * turn.sine;
      first = turned;
    }
    if (isQuery) {
      const Offset to = (static_cast<Offset>(row) * headCount + head) * headDim + i;
      y[to] = first;
      y[to + half] = second;
    } else {
      storeElement(isKey ? keys : values, isKey ? keyType : valueType, cell + i, first);
      storeElement(isKey ? keys : values, isKey ? keyType : valueType, cell + i + half, second);
    }
  }
}

// From here on a thread an element.
__device__ inline int elementIndex() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline float siluOf(float x) { return x / (1.0f + expf(-x)); }

extern "C" __global__ void add_rows(float* y, const float* a, const float* b, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[i] = a[i] + b[i];
}

// Rows of `width` that lie `stride` apart.
extern "C" __global__ void add_bias(float* y, int stride, const float* bias, int width, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[static_cast<Offset>(i / width) * stride + i % width] += bias[i % width];
}

extern "C" __global__ void silu_rows(float* y, const float* x, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[i] = siluOf(x[i]);
}

// Outputs that nobody needs are null.
extern "C" __global__ void gated_silu(float* y, void* rounded, int roundedType, int isSplit, const float* gate,
                                      int gateStride, const float* up, int upStride, int width, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i >= count) return;
  const Offset row = i / width, at = i % width;
  const float value = siluOf(gate[row * gateStride + at]) * up[row * upStride + at];
  if (y != nullptr) y[i] = value;
  if (rounded != nullptr) storeRounded(rounded, roundedType, isSplit, i, count, value);
}

extern "C" __global__ void gather_rows(float* y, const float* x, const int* rows, int width, int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[i] = x[static_cast<Offset>(rows[i / width]) * width + i % width];
}

// Rows of `width` numbers of one type that lie `xStride` apart to rows that lie `yStride` apart.
extern "C" __global__ void place_columns(void* y, int yStride, const void* x, int xStride, int type, int width,
                                         int count) {
  beginKernel();
  const int i = elementIndex();
  if (i >= count) return;
  const Offset row = i / width, at = i % width;
  storeElement(y, type, row * yStride + at, loadElement(x, type, row * xStride + at));
}

// `x` is `[rows, width]`, `y` and `heads` `[rows, headCount * width]`.
extern "C" __global__ void add_to_heads(float* y, const float* x, const float* heads, int headCount, int width,
                                        int count) {
  beginKernel();
  const int i = elementIndex();
  if (i < count) y[i] = heads[i] + x[static_cast<Offset>(i / width / headCount) * width + i % width];
}
