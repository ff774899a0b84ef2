// ByteTrack: every box counts. Sure detections are matched first; the unsure ones then keep known tracks alive.
//
// Source: Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, ECCV 2022 (arXiv
// 2110.06864). Twin: ByteTrack in trackers/byte_track.py, which says what differs from the authors' program. Both give
// the same ids, and boxes equal to the last bit, because all sums are made in the same order and ties are settled
// alike: where an association has one best set of pairs, the sparse solver finds it; where it has several, or some
// within 1e-9, the dense one is asked, which chooses as the twin's does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kalman.h"
#include "overlap_assign.h"
#include "pairs.h"

namespace watchline {

struct ByteTrackOptions {  // as in the twin
  float high_score, low_score, new_score;
  double high_cost, low_cost, tentative_cost;
  bool fuse_score;
  double duplicate_iou, lost_s;
  bool report_detection;  // the box as detected, not the filter's
};

// One frame's detections: `count` boxes xyxy in pixels, their scores and classes. Finite, with area.
struct DetectionRows {
  std::size_t count;
  const float* xyxy;
  const float* score;
  const std::int32_t* class_id;
};

// Where the seen tracks go: as many of each as `ByteTrack::Seen` says, four times as many of `xyxy`.
struct TrackRows {
  std::int64_t* track_id;
  float* xyxy;
  float* score;
  std::int32_t* class_id;
  std::uint8_t* state;
  float* age_s;
  std::int32_t* detection;
};

class ByteTrack {
 public:
  explicit ByteTrack(const ByteTrackOptions& options) : option_(options) {}

  // Forgets every track.
  void Reset();

  // The time of the frame before; minus infinity where there is none.
  double now_s() const { return now_s_; }

  // A frame is taken in three steps: `Advance`, then `Begin` with as many new ids as `Advance` returned, then `Report`.
  // `time_s` is finite and above that of the frame before; `given` is the same in `Advance` and `Report`.
  std::size_t Advance(const DetectionRows& given, double time_s);
  void Begin(const std::int64_t* ids);

  // The confirmed tracks that were seen in this frame, ascending by id.
  std::size_t Seen() const;
  void Report(const DetectionRows& given, const TrackRows& out) const;

 private:
  enum State : std::uint8_t { kTentative, kConfirmed, kLost, kRemoved };  // as TrackState

  struct Track {
    std::int64_t id;
    double born_s, seen_s;
    float score;
    std::int32_t class_id, detection;
    State state;
  };

  struct Candidate {  // a detection whose score is not below `low_score`
    Box box;
    float score;
    std::int32_t class_id, detection;
  };

  using Rows = std::vector<int>;

  double Since(double time_s) const;
  void Predict(double time_s);
  void Sort(const DetectionRows& given);
  void Match(Rows& tracks, Rows& boxes, double limit, bool fuse);
  void See(Track& track, const Candidate& box, State state) const;
  void JoinDuplicates();
  void RemoveTheRemoved();
  void SortById();

  ByteTrackOptions option_;
  double now_s_ = -std::numeric_limits<double>::infinity();  // no frame yet
  State newborn_ = kConfirmed;

  // The live tracks, ascending by id; row i of both is one track.
  std::vector<Track> live_;
  std::vector<Motion> motion_;

  // One frame's work; kept for its memory.
  std::vector<std::uint64_t> keys_;
  std::vector<Candidate> frame_;
  Rows sure_, unsure_;      // rows of `frame_` that no track has yet: high scores and low
  Rows known_, tentative_;  // rows of `live_` that have no box yet: confirmed or lost ones, and tentative ones
  Rows joined_;             // rows of `live_` that were seen
  std::vector<Object> track_objects_, box_objects_;
  std::vector<double> weight_;  // of the boxes' overlaps
  OverlapAssignment assignment_;
  PairFinder finder_;  // of duplicates
  OverlapTable overlaps_;
};

}  // namespace watchline
