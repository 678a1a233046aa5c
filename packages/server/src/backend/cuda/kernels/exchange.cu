// What several cards compute together in one kernel each, writing to each other's memory. The layouts are those of peer-exchange.ts.
#include "elements.cuh"

// Numbers that a block sends at once, four for each of its 512 threads; blocks at most, and cards.
const int CHUNK = 2048;
const int MOST_BLOCKS = 256;
const int MOST_CARDS = 8;

// Where a card gets the others' numbers: by sender, by whether the exchange is even or odd, and by block; and a flag for each sender
// and block, which says the last exchange whose numbers are there.
struct Mailbox {
  float4* numbers;
  unsigned* flags;
};

// This card's number among all.
struct Cards {
  const Mailbox* mailboxes;
  int card, count;
};

__device__ inline void raiseFlag(unsigned* flag, unsigned exchange) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(exchange) : "memory");
}

__device__ inline unsigned readFlag(const unsigned* flag) {
  unsigned exchange;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(exchange) : "l"(flag) : "memory");
  return exchange;
}

// Written by another card while this kernel runs, so that it must come from no cache of this multiprocessor.
__device__ inline float4 loadArrived(const float4* memory) {
  float4 value;
  asm volatile("ld.volatile.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "l"(memory)
               : "memory");
  return value;
}

__device__ inline Offset placeOf(int sender, unsigned exchange) {
  const Offset chunk = (static_cast<Offset>(sender) * 2 + (exchange & 1)) * MOST_BLOCKS + blockIdx.x;
  return chunk * (CHUNK / 4) + threadIdx.x;
}

// Gives this thread's numbers to all other cards, and returns when theirs are there. Every block has the block of its number on the other
// cards to wait for, and counts its exchanges as that one does. Even and odd exchanges have memory of their own: whoever
// has seen the next flag of a card knows that it has read the numbers before. Raising a flag publishes what all threads of the block
// sent before they met: a fence of each thread would wait as long again.
__device__ inline void exchangeWith(const Cards& cards, unsigned exchange, float4 own) {
  const Offset place = placeOf(cards.card, exchange);
  for (int k = 1; k < cards.count; k++) cards.mailboxes[(cards.card + k) % cards.count].numbers[place] = own;
  __syncthreads();
  const int other = threadIdx.x;
  if (other < cards.count && other != cards.card) {
    raiseFlag(cards.mailboxes[other].flags + cards.card * MOST_BLOCKS + blockIdx.x, exchange);
    const unsigned* flag = cards.mailboxes[cards.card].flags + other * MOST_BLOCKS + blockIdx.x;
    while (static_cast<int>(readFlag(flag) - exchange) < 0) {}
  }
  __syncthreads();
}

__device__ inline float4 arrivedFrom(const Cards& cards, int sender, unsigned exchange) {
  return loadArrived(cards.mailboxes[cards.card].numbers + placeOf(sender, exchange));
}

__device__ inline float4 plus(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

// What is made of sums, `[rows, width]`, on their way: with a residual added they go to `y`, if that is not null; and times a norm's
// weights to `scaled`, bfloat16, with the sum of squares of each chunk. Widths are multiples of a chunk.
struct Finish {
  const float* residual;
  float* y;
  const float* weights;
  Bits16* scaled;
  float* squares;
  int width;

  // The whole block takes part.
  __device__ inline void apply(int i, float4 sum) const {
    if (y != nullptr) *reinterpret_cast<float4*>(y + i) = sum;
    if (weights == nullptr) return;
    const float4 scale = *reinterpret_cast<const float4*>(weights + i % width);
    const float values[] = {sum.x * scale.x, sum.y * scale.y, sum.z * scale.z, sum.w * scale.w};
#pragma unroll
    for (int k = 0; k < 4; k++) scaled[i + k] = roundToBfloat16(values[k]);
    const float total = blockSum(sum.x * sum.x + sum.y * sum.y + sum.z * sum.z + sum.w * sum.w);
    if (threadIdx.x == 0) squares[i / CHUNK] = total;
  }
};

// Replaces `count` numbers, a multiple of 4, by their sums over all cards, added in the order of the cards: every card has the same
// sums. Where there is a residual, they are finished. Blocks of 512 threads.
extern "C" __global__ void __launch_bounds__(512) sum_over_cards(float* sums, int count, const Mailbox* mailboxes,
                                                                 unsigned* exchanges, int card, int cardCount,
                                                                 const float* residual, float* y, const float* weights,
                                                                 void* scaled, float* squares, int width) {
  beginKernel();
  const Cards cards = {mailboxes, card, cardCount};
  const Finish finish = {residual, y, weights, static_cast<Bits16*>(scaled), squares, width};
  unsigned exchange = exchanges[blockIdx.x];
  for (int start = blockIdx.x * CHUNK; start < count; start += gridDim.x * CHUNK) {
    const int i = start + threadIdx.x * 4;
    const float4 nothing = {0.0f, 0.0f, 0.0f, 0.0f};
    float4* numbers = reinterpret_cast<float4*>(sums + i);
    const float4 own = i < count ? *numbers : nothing;
    const float4 before = residual != nullptr ? *reinterpret_cast<const float4*>(residual + i) : nothing;
    exchangeWith(cards, ++exchange, own);
    if (i >= count) continue;
    float4 sum = nothing;
    for (int sender = 0; sender < cardCount; sender++) {
      sum = plus(sum, sender == card ? own : arrivedFrom(cards, sender, exchange));
    }
    *numbers = sum;
    if (residual != nullptr) finish.apply(i, plus(sum, before));
  }
  if (threadIdx.x == 0) exchanges[blockIdx.x] = exchange;
}

// Four neighbours of a part `[rows, width]`, as far as there are some, to columns from `first` on of `y`, whose rows lie `stride` apart.
__device__ inline void putPart(float* y, int stride, int first, int width, int i, int count, float4 part) {
  const float values[4] = {part.x, part.y, part.z, part.w};
#pragma unroll
  for (int k = 0; k < 4; k++) {
    if (i + k < count) y[static_cast<Offset>((i + k) / width) * stride + first + (i + k) % width] = values[k];
  }
}

// Puts every card's columns of `[rows, width]` together on all of them. `part` is this card's, `[rows, its width]`; the ends say
// where the columns of each card end. Blocks of 512 threads.
extern "C" __global__ void __launch_bounds__(512) gather_over_cards(float* y, const float* part, int rows,
                                                                    const Mailbox* mailboxes, unsigned* exchanges,
                                                                    int card, int cardCount, int end0, int end1,
                                                                    int end2, int end3, int end4, int end5, int end6,
                                                                    int end7) {
  beginKernel();
  const Cards cards = {mailboxes, card, cardCount};
  const int ends[MOST_CARDS] = {end0, end1, end2, end3, end4, end5, end6, end7};
  const int stride = ends[cardCount - 1];
  const auto firstOf = [&](int sender) { return sender == 0 ? 0 : ends[sender - 1]; };
  const auto widthOf = [&](int sender) { return ends[sender] - firstOf(sender); };
  int mostWidth = 0;
  for (int sender = 0; sender < cardCount; sender++) mostWidth = max(mostWidth, widthOf(sender));
  const int ownCount = rows * widthOf(card), mostCount = rows * mostWidth;
  unsigned exchange = exchanges[blockIdx.x];
  for (int start = blockIdx.x * CHUNK; start < mostCount; start += gridDim.x * CHUNK) {
    const int i = start + threadIdx.x * 4;
    float own[4];
#pragma unroll
    for (int k = 0; k < 4; k++) own[k] = i + k < ownCount ? part[i + k] : 0.0f;
    const float4 numbers = {own[0], own[1], own[2], own[3]};
    exchangeWith(cards, ++exchange, numbers);
    for (int sender = 0; sender < cardCount; sender++) {
      const int width = widthOf(sender), count = rows * width;
      if (i >= count) continue;
      const float4 arrived = sender == card ? numbers : arrivedFrom(cards, sender, exchange);
      putPart(y, stride, firstOf(sender), width, i, count, arrived);
    }
  }
  if (threadIdx.x == 0) exchanges[blockIdx.x] = exchange;
}
