// ByteTrack as its authors published it, to the last detail, so that published results can be reproduced.
//
// Source: Zhang et al., ByteTrack, ECCV 2022 (arXiv 2110.06864). Twin: ByteTrackReference in
// trackers/byte_track_reference.py, which says what those details are. Both give the same ids and rows, and numbers
// equal to the last bit: all sums are made in the same order, and ties are settled alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kalman.h"
#include "overlap_assign.h"
#include "pairs.h"
#include "stepper.h"

namespace watchline {

struct ByteTrackReferenceOptions {  // as in trackers/reference_options.py
  double track_thresh, match_thresh;
  std::int64_t buffer;  // frames that a track may go unseen, at the frame rate at hand
  bool mot20;
};

class ByteTrackReference {
 public:
  explicit ByteTrackReference(const ByteTrackReferenceOptions& options) : option_(options) {}

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

  struct Track {
    std::int64_t id, first_frame, last_frame;
    bool tracked;    // in the list of tracked ones, confirmed or not; else in the list of lost ones
    bool confirmed;  // only then it is shown
    bool condemned;  // was removed: may not be in the list of lost ones any more
    std::int32_t detection;
    double score;
    Motion motion;  // of the box as xyah
  };

  void Split(const Frame& frame);
  void Match(const Frame& frame, Rows& tracks, Rows& boxes, double limit, bool fuse);
  void See(Track& track, const Frame& frame, int box) const;
  void SortLists(std::vector<Track>& fresh);
  void DropDuplicates();
  static Object Outline(const Box& box);

  ByteTrackReferenceOptions option_;
  std::int64_t frame_ = 0;
  std::vector<Track> live_;  // the tracked list, then the lost list, each in its own order

  // One frame's work; kept for its memory.
  Rows high_, low_;         // rows of the frame that no track has yet
  Rows known_, tentative_;  // rows of `live_` that have no box yet: confirmed or lost ones, and tentative ones
  std::vector<Track> sorted_, fresh_;
  std::vector<Object> track_objects_, box_objects_;
  OverlapAssignment assignment_;
  PairFinder finder_;
  OverlapTable overlaps_;
};

}  // namespace watchline
