#include "candidates.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace watchline {
namespace {

// Returns a key that is smaller for a higher score, a number from 0 to 1; then for a lower row.
std::uint64_t SortKey(float score, std::size_t row) {
  const float positive = score + 0.0f;  // -0 is 0
  std::uint32_t bits;
  std::memcpy(&bits, &positive, sizeof bits);
  return std::uint64_t{~bits} << 32 | row;
}

constexpr std::size_t kFew = 32;  // that are sorted sooner than counted

}  // namespace

// Sorts the keys, whose lower halves ascend already. Comparing random scores fails half of the time, which costs more
// than counting them.
void CandidateSorter::SortKeys() {
  if (keys_.size() < kFew) return std::sort(keys_.begin(), keys_.end());
  sorted_.resize(keys_.size());
  for (int shift = 32; shift < 64; shift += 8) {
    std::size_t place[257] = {};
    for (const std::uint64_t key : keys_) ++place[(key >> shift & 255) + 1];
    for (int digit = 0; digit < 256; ++digit) place[digit + 1] += place[digit];
    for (const std::uint64_t key : keys_) sorted_[place[key >> shift & 255]++] = key;
    keys_.swap(sorted_);
  }
}

void CandidateSorter::Sort(const DetectionRows& given, float low_score, std::vector<Candidate>& out) {
  keys_.clear();
  for (std::size_t row = 0; row < given.count; ++row) {
    if (given.score[row] >= low_score) keys_.push_back(SortKey(given.score[row], row));
  }
  SortKeys();
  out.clear();
  for (const std::uint64_t key : keys_) {
    const std::size_t row = key & 0xffffffff;
    const float* corner = given.xyxy + 4 * row;
    out.push_back({{corner[0], corner[1], corner[2], corner[3]},
                   given.score[row],
                   given.class_id[row],
                   static_cast<std::int32_t>(row)});
  }
  // Where scores are equal: by class, then place from the lower edge on.
  const auto rank = [](const Candidate& c) { return std::tie(c.class_id, c.box.y2, c.box.x2, c.box.y1, c.box.x1); };
  for (std::size_t begin = 0, end; begin < out.size(); begin = end) {
    for (end = begin + 1; end < out.size() && out[end].score == out[begin].score;) ++end;
    if (end - begin == 1) continue;
    std::stable_sort(out.begin() + begin, out.begin() + end,
                     [&rank](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
  }
}

}  // namespace watchline
