// Operations on the rows of a value, `[rows, width]` float32: everything between the products and attention.
#include "elements.cuh"

// A block a row.
extern "C" __global__ void embed_rows(float* y, const void* table, int type, const int* tokens, int width) {
  const Offset from = static_cast<Offset>(tokens[blockIdx.x]) * width, to = static_cast<Offset>(blockIdx.x) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[to + i] = loadElement(table, type, from + i);
}

// A block for each `size` neighbours: a whole row, or a head of it.
extern "C" __global__ void rms_norm(float* y, const float* x, const float* weight, int size, float epsilon) {
  const Offset start = static_cast<Offset>(blockIdx.x) * size;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < size; i += blockDim.x) sum += x[start + i] * x[start + i];
  const float factor = 1.0f / sqrtf(blockSum(sum) / size + epsilon);
  for (int i = threadIdx.x; i < size; i += blockDim.x) y[start + i] = x[start + i] * factor * weight[i];
}

// A block a row. Turns the pairs `(i, i + headDim / 2)` of each head.
extern "C" __global__ void rotate_rows(float* y, const float* x, const float* frequencies, const int* positions,
                                       int headDim, int width, float attentionFactor) {
  const int half = headDim / 2;
  const float position = static_cast<float>(positions[blockIdx.x]);
  const Offset row = static_cast<Offset>(blockIdx.x) * width;
  for (int i = threadIdx.x; i < width / 2; i += blockDim.x) {
    const int pair = i % half;
    const Offset at = row + i / half * headDim + pair;
    float sine, cosine;
    sincosf(position * frequencies[pair], &sine, &cosine);
    sine *= attentionFactor;
    cosine *= attentionFactor;
    const float first = x[at], second = x[at + half];
    y[at] = first * cosine - second * sine;
    y[at + half] = second * cosine + first * sine;
  }
}

// From here on a thread an element.
__device__ inline int elementIndex() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline float siluOf(float x) { return x / (1.0f + expf(-x)); }

extern "C" __global__ void add_rows(float* y, const float* a, const float* b, int count) {
  const int i = elementIndex();
  if (i < count) y[i] = a[i] + b[i];
}

extern "C" __global__ void add_bias(float* y, const float* bias, int width, int count) {
  const int i = elementIndex();
  if (i < count) y[i] += bias[i % width];
}

extern "C" __global__ void silu_rows(float* y, const float* x, int count) {
  const int i = elementIndex();
  if (i < count) y[i] = siluOf(x[i]);
}

extern "C" __global__ void gated_silu(float* y, const float* gate, const float* up, int count) {
  const int i = elementIndex();
  if (i < count) y[i] = siluOf(gate[i]) * up[i];
}

extern "C" __global__ void gather_rows(float* y, const float* x, const int* rows, int width, int count) {
  const int i = elementIndex();
  if (i < count) y[i] = x[static_cast<Offset>(rows[i / width]) * width + i % width];
}

// `x` is `[rows, width]`, `y` and `heads` `[rows, headCount * width]`.
extern "C" __global__ void add_to_heads(float* y, const float* x, const float* heads, int headCount, int width,
                                        int count) {
  const int i = elementIndex();
  if (i < count) y[i] = heads[i] + x[static_cast<Offset>(i / width / headCount) * width + i % width];
}
