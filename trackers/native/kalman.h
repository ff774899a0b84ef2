// Constant-velocity Kalman filters of boxes: centre x, centre y, width / height, height, and their speeds per step.
//
// The 8-state filter of the SORT family falls apart into four filters of two states that never touch.
// Source: noise as in DeepSORT and ByteTrack (arXiv 1703.07402, 2110.06864).
// Twin: trackers/kalman.py, equal to the last bit: no sum here may be reordered or fused.
#pragma once

#include <cstddef>

#include "iou.h"

namespace watchline {

struct Xyah {
  double value[4];  // centre x, centre y, width / height, height
};

struct Motion {
  double place[4];    // as in Xyah
  double speed[4];    // its change per step
  double p_place[4];  // variance of the place,
  double p_cross[4];  // covariance of place and speed,
  double p_speed[4];  // variance of the speed
};

Xyah ToXyah(const Box& box);
Box ToBox(const double place[4]);

// Returns a motion that stands still at `box`.
Motion StartMotion(const Xyah& box);

// Moves `count` motions on by `steps`, from 0, need not be whole. A box that would shrink to nothing stops shrinking.
void PredictMotions(Motion* motions, std::size_t count, double steps);

// Corrects `motion` by a box that was seen.
void CorrectMotion(Motion& motion, const Xyah& seen);

}  // namespace watchline
