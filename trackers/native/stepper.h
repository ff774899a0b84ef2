// What goes into and comes out of the trackers that reproduce published programs: float64, and frames for a clock.
//
// Twin: Boxes and Rows in trackers/rows.py. Such a tracker takes a frame in three steps: `Advance`, then `Begin` with
// as many new ids as `Advance` returned, then `Report`; the frame given is the same in all three.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iou.h"

namespace watchline {

struct ScoredBox {
  Box box;
  double score;
};

// One frame's detections. Finite, with height, and scores from 0 to 1.
using Frame = std::vector<ScoredBox>;

// Where the seen tracks go: as many of each as the tracker's `Seen` says, four times as many of `xyxy`.
struct RowArrays {
  std::int64_t* track_id;
  double* xyxy;
  double* score;
  std::int32_t* detection;

  void Put(std::size_t row, std::int64_t id, const Box& box, double its_score, std::int32_t its_detection) const {
    const double corner[4] = {box.x1, box.y1, box.x2, box.y2};
    for (int k = 0; k < 4; ++k) xyxy[4 * row + k] = corner[k];
    track_id[row] = id;
    score[row] = its_score;
    detection[row] = its_detection;
  }
};

}  // namespace watchline
