// From a network's scores to candidates: the best class of every anchor that is good enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace watchline {

// A table of scores in the caller's memory: that of class c at anchor a is first[c * class_step + a * anchor_step].
struct Scores {
  const float* first;
  std::size_t classes, anchors;
  std::ptrdiff_t class_step, anchor_step;

  const float* At(std::size_t class_id, std::size_t anchor) const {
    return first + static_cast<std::ptrdiff_t>(class_id) * class_step +
           static_cast<std::ptrdiff_t>(anchor) * anchor_step;
  }
};

struct Candidates {  // one column each, equally long
  std::vector<std::int64_t> anchor;
  std::vector<float> score;
  std::vector<std::int32_t> class_id;
};

// Returns the anchors whose best score reaches `least`, in their order; of equal classes the first is the best. An
// anchor with a NaN among its scores has no best one and is left out. `scores` has at least one class.
//
// Fastest where the anchors of a class lie side by side, then where the classes of an anchor do.
// Twin: best_classes_numpy in detectors/heads/best_class.py, equal to the last bit.
Candidates BestClasses(const Scores& scores, float least);

}  // namespace watchline
