// What is made of logits on the device. A block a row.
#include "elements.cuh"

// The likeliest token, the first among equals, and its log-probability; NaN among the logits makes that NaN.
extern "C" __global__ void best_tokens(int* ids, float* logprobs, const float* logits, int vocabSize) {
  const float* row = logits + static_cast<Offset>(blockIdx.x) * vocabSize;
  __shared__ float peaks[1024];
  __shared__ int places[1024];
  float peak = __int_as_float(0xff800000); // minus infinity
  int place = vocabSize;
  for (int i = threadIdx.x; i < vocabSize; i += blockDim.x) {
    if (row[i] > peak || place == vocabSize) {
      peak = row[i];
      place = i;
    }
  }
  peaks[threadIdx.x] = peak;
  places[threadIdx.x] = place;
  for (int distance = blockDim.x / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (threadIdx.x >= distance) continue;
    const float other = peaks[threadIdx.x + distance];
    const int otherPlace = places[threadIdx.x + distance];
    const bool wins = other > peaks[threadIdx.x] || (other == peaks[threadIdx.x] && otherPlace < places[threadIdx.x]);
    if (!wins) continue;
    peaks[threadIdx.x] = other;
    places[threadIdx.x] = otherPlace;
  }
  __syncthreads();
  peak = peaks[0];
  float sum = 0.0f;
  for (int i = threadIdx.x; i < vocabSize; i += blockDim.x) sum += expf(row[i] - peak);
  sum = blockSum(sum);
  if (threadIdx.x != 0) return;
  ids[blockIdx.x] = min(places[0], vocabSize - 1);
  logprobs[blockIdx.x] = -logf(sum);
}
