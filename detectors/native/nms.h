// Non-maximum suppression: of boxes that overlap, the best stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace watchline {

// One number a box in the caller's memory, `step` apart.
template <typename Value>
struct Column {
  const Value* first;
  std::ptrdiff_t step;

  Value operator[](std::size_t row) const { return first[static_cast<std::ptrdiff_t>(row) * step]; }
};

struct ScoredBoxes {
  std::size_t count;             // below 2^32
  Column<float> x1, y1, x2, y2;  // corners, pixels
  Column<float> score;
  const Column<std::int32_t>* classes;  // null: all boxes are rivals, whatever their class
};

// Returns the rows to keep, best score first, at most `limit`. A box goes when its overlap with a better kept box of
// its class is greater than `iou`, in [0, 1]. Of equal scores the earlier row is the better; NaN is the worst score.
//
// A box with NaN or infinite area neither hides another nor is hidden.
// Twin: nms_numpy in detectors/nms.py, equal to the last bit.
std::vector<std::int64_t> Nms(const ScoredBoxes& boxes, float iou, std::size_t limit);

}  // namespace watchline
