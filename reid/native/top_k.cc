#include "top_k.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "detectors/native/clones.h"

namespace watchline {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::int32_t kZero = 128;  // the code of 0
// Lengths of 1 are off by a few roundings, and the bound itself is computed in floats: 1e-5 is 80 roundings of 1.
constexpr float kRoundings = 1e-5f;

// A query in whole numbers: t u, with what is needed for the bound.
struct CodedQuery {
  float scale = 0;       // t
  float length = 0;      // of t u
  float margin = 0;      // of e, and roundings
  std::int32_t off = 0;  // kZero times the sum of u: what the codes' own zero adds
};

CodedQuery Encode(const float* query, std::size_t width, std::int8_t* codes) {
  float most = 0;
  for (std::size_t i = 0; i < width; ++i) most = std::max(most, std::fabs(query[i]));
  CodedQuery coded;
  coded.scale = most / 127.0f;
  const double per = most > 0 ? 127.0 / most : 0.0;
  double length = 0, rest = 0;
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const double nearest = std::nearbyint(query[i] * per);
    const double whole = std::isfinite(nearest) ? std::clamp(nearest, -127.0, 127.0) : 0.0;
    const double back = whole * coded.scale, error = query[i] - back;
    codes[i] = static_cast<std::int8_t>(whole);
    sum += static_cast<std::int32_t>(whole);
    length += back * back;
    rest += error * error;
  }
  coded.length = static_cast<float>(std::sqrt(length));
  coded.margin = static_cast<float>(std::sqrt(rest)) + kRoundings;
  coded.off = kZero * sum;
  return coded;
}

WATCHLINE_CLONES
double ExactDot(const float* a, const float* b, std::size_t width) {
  double lanes[kLanes] = {};
  for (std::size_t i = 0; i < width; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  }
  double sum = lanes[0];
  for (std::size_t j = 1; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

// One query on its way through the rows. `best` is a heap meanwhile, the worst of the k in front.
struct Search {
  CodedQuery coded;
  const float* query;
  Hit* best;
  std::size_t k;

  void Look(const CodedRows& table, std::size_t row, std::int32_t dot) {
    const float near = coded.scale * table.scale[row] * static_cast<float>(dot - coded.off);
    if (near + coded.length * table.rest[row] + coded.margin < best[0].similarity) return;
    const double exact = ExactDot(table.rows + row * table.width, query, table.width);
    const Hit hit{static_cast<float>(exact), table.key[row]};
    if (!Better(hit, best[0])) return;
    std::pop_heap(best, best + k, Better);
    best[k - 1] = hit;
    std::push_heap(best, best + k, Better);
  }
};

}  // namespace

void TopK(const CodedRows& table, const float* queries, std::size_t count, std::size_t k, const ByteDots& dots,
          Hit* best) {
  const std::size_t width = table.width;
  std::vector<std::int8_t> codes(count * width);
  std::vector<Search> searches;
  searches.reserve(count);
  for (std::size_t j = 0; j < count; ++j) {
    const float* query = queries + j * width;
    searches.push_back({Encode(query, width, codes.data() + j * width), query, best + j * k, k});
    std::make_heap(best + j * k, best + (j + 1) * k, Better);
  }
  for (std::size_t row = 0; row < table.count; ++row) {
    if (table.wanted != nullptr && !table.wanted[row]) continue;
    const std::uint8_t* code = table.codes + row * width;
    std::size_t j = 0;
    for (; j + kQueriesAtOnce <= count; j += kQueriesAtOnce) {
      std::int32_t found[kQueriesAtOnce];
      dots.four(code, codes.data() + j * width, width, found);
      for (std::size_t i = 0; i < kQueriesAtOnce; ++i) searches[j + i].Look(table, row, found[i]);
    }
    for (; j < count; ++j) searches[j].Look(table, row, dots.one(code, codes.data() + j * width, width));
  }
  for (std::size_t j = 0; j < count; ++j) std::sort_heap(best + j * k, best + (j + 1) * k, Better);
}

}  // namespace watchline
