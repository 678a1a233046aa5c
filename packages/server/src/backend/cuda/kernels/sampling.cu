// Tokens chosen from logits: the likeliest of each row, and seeded draws by temperature, top-k and top-p. A row is read in
// chunks of the vocabulary, each by a block of its own; only where scores have to be ordered one block takes a whole row.
//
// A draw chooses what the sampler on the host would, or nothing. Weights are summed as integers, so that no order of
// summation shows, and a row whose draw or cut lies nearer to a boundary than all rounding together could move it is left
// undecided.
#include "elements.cuh"

// As row-choices.ts has them.
constexpr int CHUNK_THREADS = 256, CHUNK_LEN = 4096, TOKENS_PER_THREAD = CHUNK_LEN / CHUNK_THREADS;

// Blocks that order a row have this many threads or fewer, each with so many loads on their way.
constexpr int LOADS = 4;

// e^((score - peak) / temperature) in units of a power of two that suits the row: its total is less than 2^63.
typedef unsigned long long Mass;

constexpr int MASS_BITS = 62;

// `id` is -1 where the choice is left to the host.
struct Choice {
  int id;
  float logprob;
};

// Of a chunk: `sum` of e^(score - peak); `zero` is NaN where a score is not finite.
struct ChunkScan {
  float peak, sum, zero;
  int place;
};

// Of a row: `sum` of e^(score - peak), NaN where a score is not finite.
struct RowScan {
  float peak, sum;
};

// As draws.ts writes it: 32 bytes a row, all 0 where the row draws nothing.
struct Draw {
  double inverseTemperature, uniform, topP;
  // 0 is off, as 1 is for `topP`.
  int topK;
};

// The last token that is kept, in the order of falling scores and then of the vocabulary.
struct Cut {
  unsigned key;
  int place;
};

constexpr unsigned KEEP_NONE = 0, KEEP_ALL = 0xffffffffu;

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// What scores are taken relative to: of no finite score at all, still a number.
__device__ inline float anchorOf(float peak) { return fmaxf(peak, __int_as_float(0xff7fffff)); }

// Keys grow as scores fall. As an integer a float's bits grow with its size, the wrong way round for positive ones; adding
// 0 makes one score of -0 and 0.
__device__ inline unsigned keyOf(float score) {
  const int bits = __float_as_int(score + 0.0f);
  return bits ^ (~(bits >> 31) & 0x7fffffff);
}

__device__ inline float scoreOf(unsigned key) {
  const int bits = static_cast<int>(key);
  return __int_as_float(bits ^ (~(bits >> 31) & 0x7fffffff));
}

__device__ inline bool keeps(const Cut& cut, float score, int place) {
  const unsigned key = keyOf(score);
  return key < cut.key || (key == cut.key && place <= cut.place);
}

struct Weigher {
  double peak, inverseTemperature, unitsPerWeight;
  __device__ Mass operator()(float score) const {
    return static_cast<Mass>(exp((score - peak) * inverseTemperature) * unitsPerWeight);
  }
};

// The total of all weights is at most sum^s * vocabSize^(1 - s), where s is 1 / temperature or 1: colder than 1 each
// weight shrinks, and hotter it is a mean of powers.
__device__ inline Weigher weigherOf(const Draw& draw, const RowScan& scan, int vocabSize) {
  const float share = fminf(static_cast<float>(draw.inverseTemperature), 1.0f);
  const float bits = share * log2f(scan.sum) + (1.0f - share) * log2f(static_cast<float>(vocabSize));
  const int unit = MASS_BITS - static_cast<int>(ceilf(bits + 0.01f));
  return {scan.peak, draw.inverseTemperature, ldexp(1.0, unit)};
}

// How far apart two sums may be that are equal but for rounding: half of it for what a sum in order loses on the host, for
// up to 2^20 tokens, and a unit for each token and sum here.
__device__ inline Mass marginOf(Mass total, int vocabSize) { return (total >> 32) + 2 * static_cast<Mass>(vocabSize); }

struct Prefix {
  Mass before, through, total;
};

// Sums over the threads of a block of whole warps, in their order; every thread takes part.
__device__ inline Prefix prefixOf(Mass value) {
  __shared__ Mass ends[32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Mass through = value;
  for (int distance = 1; distance < 32; distance *= 2) {
    const Mass other = __shfl_up_sync(0xffffffffu, through, distance);
    if (lane >= distance) through += other;
  }
  __syncthreads();
  if (lane == 31) ends[warp] = through;
  __syncthreads();
  Mass earlier = 0, total = 0;
  for (int i = 0; i < blockDim.x / 32; i++) {
    if (i < warp) earlier += ends[i];
    total += ends[i];
  }
  through += earlier;
  return {through - value, through, total};
}

struct Peak {
  float score;
  int place;
};

// The first among equals.
__device__ inline Peak higher(Peak a, Peak b) {
  return b.score > a.score || (b.score == a.score && b.place < a.place) ? b : a;
}

__device__ inline Peak warpPeak(Peak peak) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const float score = __shfl_xor_sync(0xffffffffu, peak.score, distance);
    peak = higher(peak, {score, __shfl_xor_sync(0xffffffffu, peak.place, distance)});
  }
  return peak;
}

// A block a chunk and row.
extern "C" __global__ void scan_chunks(ChunkScan* scans, const float* logits, int stride, int vocabSize) {
  beginKernel();
  __shared__ Peak peaks[CHUNK_THREADS / 32];
  const int first = blockIdx.x * CHUNK_LEN, count = min(CHUNK_LEN, vocabSize - first);
  const float* chunk = logits + static_cast<Offset>(blockIdx.y) * stride + first;
  float scores[TOKENS_PER_THREAD];
  for (int i = 0; i < TOKENS_PER_THREAD; i++) {
    const int at = i * CHUNK_THREADS + threadIdx.x;
    scores[i] = at < count ? chunk[at] : -infinity();
  }
  Peak peak = {-infinity(), vocabSize};
  float zero = 0.0f;
  for (int i = 0; i < TOKENS_PER_THREAD; i++) {
    const int at = i * CHUNK_THREADS + threadIdx.x;
    if (scores[i] > peak.score) peak = {scores[i], first + at};
    if (at < count) zero += scores[i] - scores[i];
  }
  peak = warpPeak(peak);
  if (threadIdx.x % 32 == 0) peaks[threadIdx.x / 32] = peak;
  __syncthreads();
  for (int i = 0; i < CHUNK_THREADS / 32; i++) peak = higher(peak, peaks[i]);
  float sum = 0.0f;
  for (int i = 0; i < TOKENS_PER_THREAD; i++) sum += expf(scores[i] - anchorOf(peak.score));
  sum = blockSum(sum);
  zero = blockSum(zero);
  if (threadIdx.x == 0) scans[blockIdx.y * gridDim.x + blockIdx.x] = {peak.score, sum, zero, peak.place};
}

// A warp a row. NaN among the logits makes the log-probability NaN.
extern "C" __global__ void best_tokens(Choice* best, RowScan* rows, const ChunkScan* scans, int chunkCount,
                                       int vocabSize) {
  beginKernel();
  const ChunkScan* chunks = scans + blockIdx.x * chunkCount;
  Peak peak = {-infinity(), vocabSize};
  for (int i = threadIdx.x; i < chunkCount; i += 32) peak = higher(peak, {chunks[i].peak, chunks[i].place});
  peak = warpPeak(peak);
  float sum = 0.0f, zero = 0.0f;
  for (int i = threadIdx.x; i < chunkCount; i += 32) {
    sum += chunks[i].sum * expf(chunks[i].peak - anchorOf(peak.score));
    zero += chunks[i].zero;
  }
  sum = warpSum(sum);
  zero = warpSum(zero);
  if (threadIdx.x != 0) return;
  best[blockIdx.x] = {min(peak.place, vocabSize - 1), -logf(sum)};
  rows[blockIdx.x] = {peak.score, sum + zero};
}

template <class Visit>
__device__ inline void visitScores(const float* row, int vocabSize, Visit visit) {
  for (int start = threadIdx.x; start < vocabSize; start += LOADS * blockDim.x) {
    float scores[LOADS];
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const int at = start + i * blockDim.x;
      scores[i] = at < vocabSize ? row[at] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      if (start + i * blockDim.x < vocabSize) visit(scores[i]);
    }
  }
}

// The upper 12 bits of a key, then twice the next 10.
constexpr int BIN_COUNT = 4096, TOP_SHIFT = 20, LOWER_BITS = 10;

// Tokens of one key (or its upper bits): what those before them weigh, and they.
struct Found {
  unsigned key;
  Mass before, mass;
};

// Masses by bin, in shared memory, which adds 32 bits at a time.
struct Bins {
  unsigned low[BIN_COUNT], high[BIN_COUNT];
  Found found;

  __device__ void clear() {
    for (int i = threadIdx.x; i < BIN_COUNT; i += blockDim.x) low[i] = high[i] = 0;
  }

  __device__ void add(unsigned bin, Mass mass) {
    const unsigned lower = static_cast<unsigned>(mass);
    const unsigned before = atomicAdd(&low[bin], lower);
    const unsigned upper = static_cast<unsigned>(mass >> 32) + (before + lower < before);
    if (upper != 0) atomicAdd(&high[bin], upper);
  }

  __device__ Mass at(int bin) const { return static_cast<Mass>(high[bin]) << 32 | low[bin]; }

  // Each thread has as many neighbouring bins.
  __device__ Prefix prefix() const {
    const int share = BIN_COUNT / blockDim.x;
    Mass sum = 0;
    for (int i = 0; i < share; i++) sum += at(threadIdx.x * share + i);
    return prefixOf(sum);
  }

  // Finds the bin in which the unit lies, where `before` units lie ahead of this thread's bins and `unit` is in them.
  __device__ void find(Mass before, Mass unit) {
    int bin = threadIdx.x * (BIN_COUNT / blockDim.x);
    for (; unit >= before + at(bin); bin++) before += at(bin);
    found = {static_cast<unsigned>(bin), before, at(bin)};
  }
};

// In the order of falling scores, the tokens of one score among which a unit of mass lies; `unitOf` says which one, given
// the mass of all. Tokens behind `lastKey` are none. A radix descent: each pass looks closer at one bin of the last.
template <class Weigh, class UnitOf>
__device__ inline Found descend(Bins& bins, const float* row, int vocabSize, unsigned lastKey, Weigh weigh,
                                UnitOf unitOf) {
  Found found = {0, 0, 0};
  Mass unit = 0;
  for (int shift = TOP_SHIFT; shift >= 0; shift -= LOWER_BITS) {
    bins.clear();
    __syncthreads();
    visitScores(row, vocabSize, [&](float score) {
      const unsigned key = keyOf(score);
      if (key > lastKey || (shift < TOP_SHIFT && key >> (shift + LOWER_BITS) != found.key)) return;
      bins.add((key >> shift) - (found.key << LOWER_BITS), weigh(score));
    });
    __syncthreads();
    const Prefix prefix = bins.prefix();
    if (shift == TOP_SHIFT) unit = unitOf(prefix.total);
    const Mass first = found.before + prefix.before, end = found.before + prefix.through;
    if (first <= unit && unit < end) bins.find(first, unit);
    __syncthreads();
    found = {(found.key << LOWER_BITS) + bins.found.key, bins.found.before, bins.found.mass};
  }
  return found;
}

// Where the `rank`-th token with that key lies, the first at 0.
__device__ inline int placeOf(const float* row, int vocabSize, unsigned key, Mass rank) {
  __shared__ int place;
  const int share = (vocabSize + blockDim.x - 1) / blockDim.x;
  const int first = min(static_cast<int>(threadIdx.x) * share, vocabSize), end = min(first + share, vocabSize);
  Mass count = 0;
  for (int i = first; i < end; i++) count += keyOf(row[i]) == key;
  Mass before = prefixOf(count).before;
  for (int i = first; i < end; i++) {
    if (keyOf(row[i]) == key && before++ == rank) place = i;
  }
  __syncthreads();
  return place;
}

// The fewest of the likeliest tokens whose mass reaches `topP` of all up to `lastKey`; none where that is undecided.
__device__ inline Cut cutAtMass(Bins& bins, const float* row, int vocabSize, unsigned lastKey, const Weigher& weigh,
                                double topP) {
  Mass total = 0, target = 0;
  const Found found = descend(bins, row, vocabSize, lastKey, weigh, [&](Mass all) {
    total = all;
    target = min(max(static_cast<Mass>(topP * static_cast<double>(all)), 1ull), all);
    return target - 1;
  });
  const Mass each = weigh(scoreOf(found.key)), rank = (target - 1 - found.before) / each;
  const Mass before = found.before + rank * each, margin = marginOf(total, vocabSize);
  // The best token is kept however little is asked for.
  const bool isDecided = (before == 0 || before + margin <= target) && target + margin <= before + each;
  if (!isDecided) return {KEEP_NONE, -1};
  const bool keepsEquals = found.before + found.mass == before + each;
  return {found.key, keepsEquals ? vocabSize : placeOf(row, vocabSize, found.key, rank)};
}

// A block of a power of two of threads a row.
extern "C" __global__ void cut_rows(Cut* cuts, const RowScan* rows, const Draw* draws, const float* logits, int stride,
                                    int vocabSize) {
  beginKernel();
  __shared__ Bins bins;
  const Draw draw = draws[blockIdx.x];
  const RowScan scan = rows[blockIdx.x];
  const float* row = logits + static_cast<Offset>(blockIdx.x) * stride;
  const bool isDrawn = draw.inverseTemperature > 0.0 && scan.sum < infinity();
  Cut cut = {isDrawn ? KEEP_ALL : KEEP_NONE, isDrawn ? vocabSize : -1};
  if (isDrawn && draw.topK > 0 && draw.topK < vocabSize) {
    const auto one = [](float) { return static_cast<Mass>(1); };
    const auto last = [&](Mass) { return static_cast<Mass>(draw.topK - 1); };
    cut.key = descend(bins, row, vocabSize, KEEP_ALL, one, last).key;
  }
  if (isDrawn && draw.topP < 1.0) {
    cut = cutAtMass(bins, row, vocabSize, cut.key, weigherOf(draw, scan, vocabSize), draw.topP);
  }
  if (threadIdx.x == 0) cuts[blockIdx.x] = cut;
}

// A block a chunk and row: the mass of what is kept of it.
extern "C" __global__ void weigh_chunks(Mass* masses, const Cut* cuts, const RowScan* rows, const Draw* draws,
                                        const float* logits, int stride, int vocabSize) {
  beginKernel();
  const Cut cut = cuts[blockIdx.y];
  const int first = blockIdx.x * CHUNK_LEN, end = min(first + CHUNK_LEN, vocabSize);
  const float* row = logits + static_cast<Offset>(blockIdx.y) * stride;
  Mass sum = 0;
  if (cut.key != KEEP_NONE) {
    const Weigher weigh = weigherOf(draws[blockIdx.y], rows[blockIdx.y], vocabSize);
    for (int i = first + threadIdx.x; i < end; i += CHUNK_THREADS) {
      const float score = row[i];
      if (keeps(cut, score, i)) sum += weigh(score);
    }
  }
  sum = prefixOf(sum).total;
  if (threadIdx.x == 0) masses[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// A block of CHUNK_THREADS a row, which has at most as many chunks: the token at which the mass, in the order of the
// vocabulary, passes `uniform` of all.
extern "C" __global__ void draw_tokens(Choice* drawn, const Mass* masses, const Cut* cuts, const RowScan* rows,
                                       const Draw* draws, const float* logits, int stride, int vocabSize) {
  beginKernel();
  const int chunkCount = (vocabSize + CHUNK_LEN - 1) / CHUNK_LEN;
  __shared__ int chunk;
  __shared__ Mass beforeChunk;
  const Cut cut = cuts[blockIdx.x];
  if (threadIdx.x == 0) drawn[blockIdx.x] = {-1, 0.0f};
  if (cut.key == KEEP_NONE) return;
  const Draw draw = draws[blockIdx.x];
  const bool hasChunk = threadIdx.x < chunkCount;
  const Prefix chunks = prefixOf(hasChunk ? masses[blockIdx.x * chunkCount + threadIdx.x] : 0);
  const Mass total = chunks.total;
  const Mass target = min(static_cast<Mass>(draw.uniform * static_cast<double>(total)), total - 1);
  if (chunks.before <= target && target < chunks.through) {
    chunk = threadIdx.x;
    beforeChunk = chunks.before;
  }
  __syncthreads();
  const Weigher weigh = weigherOf(draw, rows[blockIdx.x], vocabSize);
  const float* row = logits + static_cast<Offset>(blockIdx.x) * stride;
  const int first = chunk * CHUNK_LEN + threadIdx.x * TOKENS_PER_THREAD;
  const auto massAt = [&](int i) {
    return i < vocabSize && keeps(cut, row[i], i) ? weigh(row[i]) : static_cast<Mass>(0);
  };
  Mass sum = 0;
  for (int i = 0; i < TOKENS_PER_THREAD; i++) sum += massAt(first + i);
  const Prefix tokens = prefixOf(sum);
  Mass before = beforeChunk + tokens.before;
  if (target < before || target >= beforeChunk + tokens.through) return;
  int id = first;
  for (; target >= before + massAt(id); id++) before += massAt(id);
  const Mass margin = marginOf(total, vocabSize);
  if (before + margin > target || target + margin > before + massAt(id)) return;
  const double exponent = (row[id] - weigh.peak) * weigh.inverseTemperature;
  drawn[blockIdx.x] = {id, static_cast<float>(exponent - log(total / weigh.unitsPerWeight))};
}
