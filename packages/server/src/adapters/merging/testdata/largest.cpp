// Which indices torch.topk's C++ takes among equal values: makes largest.json.
// g++ -O2 -o largest largest.cpp && ./largest > largest.json
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

using Element = std::pair<float, int64_t>;

static bool before(const Element &x, const Element &y) { return x.first > y.first; }

// Values that make every partition a bad one, chosen while they are compared (McIlroy, 1999).
static std::vector<float> adversary(int length, int count) {
  std::vector<int> values(length, length), order(length);
  std::iota(order.begin(), order.end(), 0);
  int solid = 0, candidate = 0;
  std::nth_element(order.begin(), order.begin() + count - 1, order.end(), [&](int x, int y) {
    if (values[x] == length && values[y] == length) values[x == candidate ? x : y] = solid++;
    if (values[x] == length) candidate = x;
    else if (values[y] == length) candidate = y;
    return values[x] < values[y];
  });
  std::vector<float> result;
  for (int value : values) result.push_back(-value);
  return result;
}

static std::vector<float> residues(int length, int modulus) {
  std::vector<float> values(length);
  uint32_t state = length * 31 + modulus;
  for (float &value : values) value = ((state = state * 1664525u + 1013904223u) >> 8) % modulus;
  return values;
}

static void print(const char *from, const std::vector<float> &values, int count) {
  std::vector<Element> queue;
  for (size_t i = 0; i < values.size(); i++) queue.emplace_back(values[i], i);
  if (count * 64 <= (int)values.size()) std::partial_sort(queue.begin(), queue.begin() + count, queue.end(), before);
  else std::nth_element(queue.begin(), queue.begin() + count - 1, queue.end(), before);
  std::vector<int64_t> kept;
  for (int i = 0; i < count; i++) kept.push_back(queue[i].second);
  std::sort(kept.begin(), kept.end());
  uint32_t hash = 2166136261u;
  for (int64_t index : kept) hash = (hash ^ (uint32_t)index) * 16777619u;
  static bool isFirst = true;
  printf("%s  { %s, \"count\": %d, \"hash\": %u }", isFirst ? "" : ",\n", from, count, hash);
  isFirst = false;
}

int main() {
  char from[4096];
  printf("[\n");
  for (int length : {1, 2, 3, 4, 5, 7, 100, 1000, 4096})
    for (int modulus : {1, 3, 17, 300})
      for (int percent : {1, 10, 50, 90}) {
        snprintf(from, sizeof from, "\"length\": %d, \"modulus\": %d", length, modulus);
        print(from, residues(length, modulus), std::max(1, length * percent / 100));
      }
  for (int count : {100, 150}) {
    std::vector<float> values = adversary(200, count);
    int at = snprintf(from, sizeof from, "\"values\": [%.0f", values[0]);
    for (size_t i = 1; i < values.size(); i++) at += snprintf(from + at, sizeof from - at, ", %.0f", values[i]);
    snprintf(from + at, sizeof from - at, "]");
    print(from, values, count);
  }
  printf("\n]\n");
}
