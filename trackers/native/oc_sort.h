// OC-SORT: observations lead, the filter follows. What was seen last finds a track again and mends its motion.
//
// Source: Cao et al., Observation-Centric SORT, CVPR 2023 (arXiv 2203.14360). Twin: OcSort in trackers/oc_sort.py,
// which says what differs from the authors' program. Both give the same ids, and boxes equal to the last bit, because
// all sums are made in the same order, ties are settled alike (see byte_track.h), and the angle is a polynomial here
// and there: libraries differ in the last bit of their arc cosines.
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

struct OcSortOptions {  // as in the twin
  float det_score, low_score;
  double min_iou, low_iou, inertia, direction_s;
  std::int64_t confirm_hits;
  double lost_s, coast_s;
  bool report_detection;  // the box as detected, not the filter's
};

class OcSort {
 public:
  explicit OcSort(const OcSortOptions& options) : option_(options) {}

  // As in ByteTrack.
  void Reset();
  double now_s() const { return clock_.now_s; }
  std::size_t Advance(const DetectionRows& given, double time_s);
  void Begin(const std::int64_t* ids);
  std::size_t Shown() const;
  void Report(const DetectionRows& given, const TrackRows& out) const;
  std::string Save() const;
  bool Restore(double now_s, const char* bytes, std::size_t size);

 private:
  static constexpr int kPast = 8;  // observations kept of a track

  struct Direction {  // a unit vector; zeros where not known
    double x, y;
  };

  struct Track {
    std::int64_t id, streak, missed;  // detections in a row; frames since the last one
    double born_s, seen_s;
    float score;
    std::int32_t class_id, detection;
    State state;
    Direction direction;
  };

  // The last observations of a track and their times, in a ring.
  struct Past {
    Box box[kPast];
    double time_s[kPast];
    int newest;

    static int Slot(int newest, int back) { return (newest + back) % kPast; }
    const Box& Last() const { return box[newest]; }
    void Add(const Box& its_box, double its_time_s);
    const Box& Back(const Clock& clock, double most_s) const;
  };

  using Rows = std::vector<int>;

  static Direction Towards(const Box& start, const Box& end);
  static double Agreement(const Direction& a, const Direction& b);
  void MoveClock(double time_s);
  void Sort(const DetectionRows& given);
  void Expect();
  template <typename Place, typename Bonus>
  void Match(Rows& tracks, Rows& boxes, double least_iou, const Place& place, const Bonus& bonus);
  void See(int track, const Candidate& box);
  void Note(int track, const Candidate& box);
  bool Coasts(const Track& track) const;

  template <typename Field>
  static void ForEachField(Track& track, Past& past, Motion& motion, Field& field);

  OcSortOptions option_;
  Clock clock_;
  std::int64_t confirm_hits_ = 1;  // in this frame: the first one is believed at once

  // The live tracks, ascending by id; row i of each is one track. `motion_` is of the box as xysr, as it was at
  // `seen_s`.
  std::vector<Track> live_;
  std::vector<Past> past_;
  std::vector<Motion> motion_;

  // One frame's work; kept for its memory.
  CandidateSorter sorter_;
  std::vector<Candidate> frame_;
  Rows high_, low_;            // rows of `frame_` that no track has yet
  Rows missed_;                // rows of `live_` that have no box yet
  std::vector<double> steps_;  // of every live track, since it was seen
  std::vector<Box> expected_;  // where every live track is expected,
  std::vector<Box> turn_;      // and the observation that its direction is taken from
  std::vector<Object> track_objects_, box_objects_;
  OverlapAssignment assignment_;
};

}  // namespace watchline
