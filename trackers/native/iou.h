// Boxes and how much two of them overlap.
#pragma once

#include <algorithm>

namespace watchline {

struct Box {  // corners, pixels; x1 <= x2, y1 <= y2
  double x1, y1, x2, y2;
};

// Returns intersection over union, in [0, 1] up to rounding; 0 where the boxes only touch or have no area.
//
// Twin: iou_matrix in detectors/boxes.py in float64, equal to the last bit.
inline double Iou(const Box& a, const Box& b) {
  const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0 && height > 0)) return 0;
  const double shared = width * height;
  const double together = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared;
  return together > 0 ? shared / together : 0;
}

}  // namespace watchline
