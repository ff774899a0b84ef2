// Constant-velocity Kalman filters of boxes: four numbers and their speeds per step.
//
// ByteTrack measures xyah (centre x, centre y, width / height, height), SORT xysr (centre x, centre y, area, width /
// height). The 8-state filter of the SORT family falls apart into four filters of two states that never touch.
// Source: noise as in DeepSORT and ByteTrack (arXiv 1703.07402, 2110.06864); that of xysr as in SORT (1602.00763).
// Twin: trackers/kalman.py, equal to the last bit: no sum here may be reordered or fused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "iou.h"

namespace watchline {

struct Xyah {
  double value[4];  // centre x, centre y, width / height, height
};

struct Xysr {
  double value[4];  // centre x, centre y, area, width / height
};

struct Motion {
  double place[4];    // as in Xyah or Xysr
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

// Moves `motion` on by one step, wherever that leads.
void DriftMotion(Motion& motion);

// Corrects `motion` by a box that was seen.
void CorrectMotion(Motion& motion, const Xyah& seen);

// Corrects `motion` by a box that was seen, with an aspect that keeps up with it.
void FollowMotion(Motion& motion, const Xyah& seen);

// The same for xysr; no corners are numbers where area and aspect belong to no box.

Xysr ToXysr(const Box& box);
Box XysrToBox(const double place[4]);
Motion StartXysr(const Xysr& box);

// Moves `motion` on by `steps`, from 0, need not be whole. A box that would shrink to nothing stops shrinking.
void PredictXysr(Motion& motion, double steps);

// Returns where `motion` will be `steps` later.
Box ExpectXysr(const Motion& motion, double steps);

void CorrectXysr(Motion& motion, const Xysr& seen);

// Returns `motion`, as predicted for the frame after `first` was seen, as if its box had been seen on a straight way
// from there to `last`, `gap` frames after `first`, from 1. The result has seen `last`.
Motion RetraceXysr(Motion motion, const Xysr& first, const Xysr& last, std::int64_t gap);

// Moves `motion`, as it was when it had seen `first`, on by `steps`, and corrects it by boxes at `stops` even stops on
// a straight way from there to `last`, which is the last of them. Size and shape keep up better than with SORT's noise.
void FollowXysr(Motion& motion, const Box& first, const Box& last, double steps, std::int64_t stops);

}  // namespace watchline
