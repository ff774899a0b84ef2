// ByteTrack: every box counts. Sure detections begin tracks; the unsure ones keep known tracks alive.
//
// Source: Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, ECCV 2022 (arXiv
// 2110.06864). Twin: ByteTrack in trackers/byte_track.py, which says what differs from the authors' program. Both give
// the same ids, and boxes equal to the last bit, because all sums are made in the same order and ties are settled
// alike: where an association has one best set of pairs, the sparse solver finds it; where it has several, or some
// within 1e-9, the dense one is asked, which chooses as the twin's does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "candidates.h"
#include "kalman.h"
#include "overlap_assign.h"
#include "pairs.h"
#include "table.h"

namespace watchline {

struct ByteTrackOptions {  // as in the twin
  float high_score, low_score, new_score;
  double high_cost, low_cost, tentative_cost;
  bool fuse_score;
  double duplicate_iou, lost_s, coast_s;
  bool report_detection;  // the box as detected, not the filter's
};

class ByteTrack {
 public:
  explicit ByteTrack(const ByteTrackOptions& options) : option_(options) {}

  // Forgets every track.
  void Reset();

  // The time of the frame before; minus infinity where there is none.
  double now_s() const { return clock_.now_s; }

  // A frame is taken in three steps: `Advance`, then `Begin` with as many new ids as `Advance` returned, then `Report`.
  // `time_s` is finite and above that of the frame before; `given` is the same in `Advance` and `Report`.
  std::size_t Advance(const DetectionRows& given, double time_s);
  void Begin(const std::int64_t* ids);

  // The confirmed tracks that were seen in this frame, and those that coast, ascending by id.
  std::size_t Shown() const;
  void Report(const DetectionRows& given, const TrackRows& out) const;

  // The live tracks as bytes, see table.h; and back. Says no, with nothing changed, where `size` bytes are no whole
  // tracks.
  std::string Save() const;
  bool Restore(double now_s, const char* bytes, std::size_t size);

 private:
  struct Track {
    std::int64_t id;
    double born_s, seen_s;
    float score;
    std::int32_t class_id, detection;
    State state;
  };

  using Rows = std::vector<int>;

  void Predict(double time_s);
  void Sort(const DetectionRows& given);
  void Match(Rows& tracks, Rows& boxes, double limit);
  void DropBelow(float least);
  double Weight(float score) const;
  void See(Track& track, const Candidate& box, State state) const;
  void JoinDuplicates();
  void RemoveTheRemoved();
  void SortById();
  bool Coasts(const Track& track) const;

  template <typename Field>
  static void ForEachField(Track& track, Motion& motion, Field& field);

  ByteTrackOptions option_;
  Clock clock_;
  State newborn_ = kConfirmed;

  // The live tracks, ascending by id; row i of both is one track.
  std::vector<Track> live_;
  std::vector<Motion> motion_;

  // One frame's work; kept for its memory.
  CandidateSorter sorter_;
  std::vector<Candidate> frame_;
  Rows free_;               // rows of `frame_` that no track has yet
  Rows known_, tentative_;  // rows of `live_` that have no box yet: confirmed or lost ones, and tentative ones
  Rows joined_;             // rows of `live_` that were seen
  std::vector<Object> track_objects_, box_objects_;
  std::vector<double> weight_;  // of the boxes' overlaps
  OverlapAssignment assignment_;
  PairFinder finder_;  // of duplicates
  OverlapTable overlaps_;
};

}  // namespace watchline
