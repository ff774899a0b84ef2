#include "nms.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "clones.h"

namespace watchline {
namespace {

// A number that is the lower, the better the score; equal for equal scores, -0 and 0 too; greatest for NaN.
std::uint32_t Rank(float score) {
  if (score != score) return std::numeric_limits<std::uint32_t>::max();
  score += 0.0f;  // -0 becomes 0
  std::uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  constexpr std::uint32_t kSign = 0x80000000u;
  return bits & kSign ? bits : ~bits & ~kSign;
}

// Returns the rows, best score first and equal ones in their order: a radix sort, byte by byte from the lowest.
std::vector<std::uint64_t> BestFirst(std::size_t count, const Column<float>& score) {
  constexpr int kDigits = 4;
  std::vector<std::uint64_t> items(count), sorted(count);  // rank above, row below
  std::array<std::array<std::uint32_t, 256>, kDigits> places{};
  for (std::size_t row = 0; row < count; ++row) {
    const std::uint32_t rank = Rank(score[row]);
    items[row] = static_cast<std::uint64_t>(rank) << 32 | row;
    for (int digit = 0; digit < kDigits; ++digit) ++places[digit][rank >> 8 * digit & 255];
  }
  for (int digit = 0; digit < kDigits; ++digit) {
    std::uint32_t before = 0;
    for (std::uint32_t& place : places[digit]) before += std::exchange(place, before);
    for (const std::uint64_t item : items) sorted[places[digit][item >> (32 + 8 * digit) & 255]++] = item;
    items.swap(sorted);
  }
  for (std::uint64_t& item : items) item &= 0xFFFFFFFFu;
  return items;
}

struct Box {
  float x1, y1, x2, y2, area;
  std::int32_t class_id;
};

constexpr std::size_t kLanes = 16;

// Kept boxes side by side. A lane that holds none yet has NaN for its area: such a box hides nothing.
struct alignas(64) Chunk {
  std::array<float, kLanes> x1{}, y1{}, x2{}, y2{}, area;
  std::array<std::int32_t, kLanes> class_id{};

  Chunk() { area.fill(std::numeric_limits<float>::quiet_NaN()); }

  void Put(std::size_t lane, const Box& box) {
    x1[lane] = box.x1, y1[lane] = box.y1, x2[lane] = box.x2, y2[lane] = box.y2;
    area[lane] = box.area;
    class_id[lane] = box.class_id;
  }
};

inline float Lesser(float a, float b) { return a < b ? a : b; }
inline float Greater(float a, float b) { return a > b ? a : b; }

// Does a box of `chunks` hide `box`? Every lane takes the same steps, so that they run side by side.
WATCHLINE_CLONES
bool IsHidden(const Chunk* chunks, std::size_t count, const Box& box, float iou) {
  for (std::size_t k = 0; k < count; ++k) {
    const Chunk& kept = chunks[k];
    std::int32_t hidden = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float width = Lesser(kept.x2[lane], box.x2) - Greater(kept.x1[lane], box.x1);
      const float height = Lesser(kept.y2[lane], box.y2) - Greater(kept.y1[lane], box.y1);
      const float shared = Greater(width, 0) * Greater(height, 0);
      const float together = kept.area[lane] + box.area - shared;
      const bool overlaps = (together > 0) & (shared / together > iou);
      hidden |= overlaps & (kept.class_id[lane] == box.class_id);
    }
    if (hidden) return true;
  }
  return false;
}

}  // namespace

std::vector<std::int64_t> Nms(const ScoredBoxes& boxes, float iou, std::size_t limit) {
  std::vector<std::int64_t> rows;
  std::vector<Chunk> kept;
  for (const std::uint64_t row : BestFirst(boxes.count, boxes.score)) {
    if (rows.size() >= limit) break;
    Box box{boxes.x1[row], boxes.y1[row], boxes.x2[row], boxes.y2[row], 0, boxes.classes ? (*boxes.classes)[row] : 0};
    box.area = (box.x2 - box.x1) * (box.y2 - box.y1);
    if (IsHidden(kept.data(), kept.size(), box, iou)) continue;
    const std::size_t lane = rows.size() % kLanes;
    if (lane == 0) kept.emplace_back();
    kept.back().Put(lane, box);
    rows.push_back(static_cast<std::int64_t>(row));
  }
  return rows;
}

}  // namespace watchline
