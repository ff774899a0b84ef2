// OC-SORT as its authors published it, to the last detail, so that published results can be reproduced.
//
// Source: Cao et al., Observation-Centric SORT, CVPR 2023 (arXiv 2203.14360). Twin: OcSortReference in
// trackers/oc_sort_reference.py, which says what those details are. Both give the same ids and rows, and numbers equal
// to the last bit: all sums are made in the same order, and the solver is the dense one that settles ties as the
// program's does. The one thing not equal to the last bit is the arc cosine, which NumPy computes in its own ways; it
// weighs in the choice of pairs, never in a number that comes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kalman.h"
#include "stepper.h"

namespace watchline {

struct OcSortReferenceOptions {  // as in trackers/reference_options.py
  double det_thresh;
  std::int64_t max_age, min_hits;
  double iou_threshold;
  std::int64_t delta_t;
  double inertia;
  bool use_byte;
};

class OcSortReference {
 public:
  explicit OcSortReference(const OcSortReferenceOptions& options) : option_(options) {}

  // Forgets every track and starts at frame 1.
  void Reset();

  // See stepper.h.
  std::size_t Advance(const Frame& frame);
  void Begin(const Frame& frame, const std::int64_t* ids);
  std::size_t Seen() const;
  void Report(const RowArrays& out) const;

  std::vector<std::int64_t> Held() const;

 private:
  using Rows = std::vector<int>;

  struct Direction {  // a unit vector; zeros where not known
    double x, y;
  };

  struct Observation {
    std::int64_t age;  // of the track then
    ScoredBox seen;
  };

  struct Track {
    std::int64_t id, age, unseen, streak;  // frames since its first and since its last detection; detections in a row
    Direction direction;
    ScoredBox last;                 // the last observation; all fields -1 where there is none
    std::vector<Observation> past;  // that of age a is in row a % delta_t
    double score;
    std::int32_t detection;
    Motion motion, frozen;  // of the box as xysr; frozen: as it was in the first frame of the gap that is on
  };

  struct Ways {  // of all tracks: where from, where to, and the turn that a box would be; for one box after the other
    std::vector<double> from_x, from_y, along_x, along_y, cosine;
    std::vector<char> known;

    void Resize(std::size_t count);
    void Turn(double x, double y);
  };

  static Direction Towards(const Box& start, const Box& end);
  static double Sum(const ScoredBox& observation);
  bool Shown(const Track& track) const;
  void Predict();
  const ScoredBox& Earlier(const Track& track) const;
  void FirstRound(const Frame& frame);
  void LaterRound(const Frame& frame, Rows& boxes, const std::vector<Box>& places);
  void Measure(const Frame& frame, const Rows& boxes, const std::vector<Box>& places);
  bool TakeObvious();
  void AddDirections(const Frame& frame);
  void Solve();
  void Take(const Frame& frame, Rows& boxes);
  void See(int track, const Frame& frame, int box);

  OcSortReferenceOptions option_;
  std::int64_t frame_ = 0;
  std::vector<Track> live_;  // in the order of creation

  // One frame's work; kept for its memory.
  Rows high_, low_;                 // rows of the frame that no track has yet
  Rows missed_;                     // rows of `live_` that have no box yet
  std::vector<Box> expected_;       // of every track
  std::vector<ScoredBox> earlier_;  // of every track, before this frame changes them
  std::vector<double> overlap_, cost_;
  Ways ways_;
  Rows column_of_, row_of_;  // of the pairs, or kFree
  Rows boxes_left_, tracks_left_;
};

}  // namespace watchline
