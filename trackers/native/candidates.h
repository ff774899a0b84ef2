// One frame's detections by falling score, then class and place: the order they came in must not matter.
//
// Twin: Candidates in trackers/associate.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iou.h"

namespace watchline {

// `count` boxes xyxy in pixels, their scores and classes. Finite, with area; scores from 0 to 1.
struct DetectionRows {
  std::size_t count;
  const float* xyxy;
  const float* score;
  const std::int32_t* class_id;
};

struct Candidate {
  Box box;
  float score;
  std::int32_t class_id, detection;
};

// Keeps its memory between calls.
class CandidateSorter {
 public:
  // Writes the detections whose score is not below `low_score` to `out`.
  void Sort(const DetectionRows& given, float low_score, std::vector<Candidate>& out);

 private:
  void SortKeys();

  std::vector<std::uint64_t> keys_, sorted_;
};

}  // namespace watchline
