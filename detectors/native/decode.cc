#include "decode.h"

#include <algorithm>
#include <limits>

#include "clones.h"

namespace watchline {
namespace {

constexpr std::size_t kBlock = 2048;  // anchors at a time: their maxima stay in the first cache
constexpr std::size_t kLanes = 16;

// The greater one; the second where either is NaN, as the processors' own instruction has it.
inline float Greater(float a, float b) { return a > b ? a : b; }

// Writes the greatest score of each of `count` anchors that lie side by side; what a NaN makes of it is any number.
WATCHLINE_CLONES
void MaximaAcross(const float* scores, std::size_t classes, std::ptrdiff_t class_step, std::size_t count,
                  float* __restrict best) {
  std::copy_n(scores, count, best);
  std::size_t c = 1;
  for (; c + 4 <= classes; c += 4) {  // four rows at once: a quarter of the traffic to and from `best`
    const float* row = scores + static_cast<std::ptrdiff_t>(c) * class_step;
    const float *second = row + class_step, *third = second + class_step, *fourth = third + class_step;
    for (std::size_t i = 0; i < count; ++i) {
      best[i] = Greater(Greater(Greater(row[i], second[i]), Greater(third[i], fourth[i])), best[i]);
    }
  }
  for (; c < classes; ++c) {
    const float* row = scores + static_cast<std::ptrdiff_t>(c) * class_step;
    for (std::size_t i = 0; i < count; ++i) best[i] = Greater(row[i], best[i]);
  }
}

// Returns the greatest of `classes` scores that lie side by side.
inline float MaximumAlong(const float* scores, std::size_t classes) {
  float lanes[kLanes];
  for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = -std::numeric_limits<float>::infinity();
  std::size_t c = 0;
  if (classes >= kLanes) {
    do {
#pragma GCC unroll 1  // else unrolled before it could become vectors
      for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = Greater(scores[c + lane], lanes[lane]);
      c += kLanes;
    } while (c + kLanes <= classes);
  }
  for (std::size_t lane = 0; c + lane < classes; ++lane) lanes[lane] = Greater(scores[c + lane], lanes[lane]);
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] = Greater(lanes[lane], lanes[lane + half]);
  }
  return lanes[0];
}

WATCHLINE_CLONES
void MaximaAlong(const float* scores, std::size_t classes, std::ptrdiff_t anchor_step, std::size_t count, float* best) {
  for (std::size_t i = 0; i < count; ++i) {
    best[i] = MaximumAlong(scores + static_cast<std::ptrdiff_t>(i) * anchor_step, classes);
  }
}

void MaximaAnyhow(const Scores& scores, std::size_t anchor, std::size_t count, float* best) {
  for (std::size_t i = 0; i < count; ++i) {
    best[i] = *scores.At(0, anchor + i);
    for (std::size_t c = 1; c < scores.classes; ++c) best[i] = Greater(*scores.At(c, anchor + i), best[i]);
  }
}

constexpr std::int32_t kNone = -1;

// Writes the first class of each of kLanes anchors, side by side, whose score is the anchor's `best`; kNone where one
// of its scores is NaN.
WATCHLINE_CLONES
void WinnersAcross(const float* scores, std::size_t classes, std::ptrdiff_t class_step, const float* best,
                   std::int32_t* __restrict winner) {
  std::int32_t first[kLanes], sound[kLanes];
  float top[kLanes];
  for (std::size_t lane = 0; lane < kLanes; ++lane) first[lane] = 0, sound[lane] = 1, top[lane] = best[lane];
  std::size_t c = classes;
  do {
    const float* row = scores + static_cast<std::ptrdiff_t>(--c) * class_step;
#pragma GCC unroll 1  // else unrolled before it could become vectors
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sound[lane] = row[lane] == row[lane] ? sound[lane] : 0;
      first[lane] = row[lane] == top[lane] ? static_cast<std::int32_t>(c) : first[lane];
    }
  } while (c > 0);
  for (std::size_t lane = 0; lane < kLanes; ++lane) winner[lane] = sound[lane] ? first[lane] : kNone;
}

// The same for one anchor, anyhow it lies.
std::int32_t Winner(const Scores& scores, std::size_t anchor, float best) {
  std::int32_t winner = kNone;
  for (std::size_t c = scores.classes; c-- > 0;) {
    const float score = *scores.At(c, anchor);
    if (score != score) return kNone;
    winner = score == best ? static_cast<std::int32_t>(c) : winner;
  }
  return winner;
}

// Fills `best` with the greatest score of `count` anchors from `start` on.
void Maxima(const Scores& scores, std::size_t start, std::size_t count, float* best) {
  if (scores.anchor_step == 1) {
    MaximaAcross(scores.At(0, start), scores.classes, scores.class_step, count, best);
  } else if (scores.class_step == 1) {
    MaximaAlong(scores.At(0, start), scores.classes, scores.anchor_step, count, best);
  } else {
    MaximaAnyhow(scores, start, count, best);
  }
}

}  // namespace

Candidates BestClasses(const Scores& scores, float least) {
  Candidates found;
  float best[kBlock];
  std::int32_t winner[kLanes];
  for (std::size_t start = 0; start < scores.anchors; start += kBlock) {
    const std::size_t count = std::min(kBlock, scores.anchors - start);
    Maxima(scores, start, count, best);
    for (std::size_t i = 0; i < count; i += kLanes) {
      const std::size_t lanes = std::min(kLanes, count - i);
      if (std::none_of(best + i, best + i + lanes, [least](float score) { return score >= least; })) continue;
      const bool across = scores.anchor_step == 1 && lanes == kLanes;
      if (across) WinnersAcross(scores.At(0, start + i), scores.classes, scores.class_step, best + i, winner);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        if (!(best[i + lane] >= least)) continue;
        const std::size_t anchor = start + i + lane;
        const std::int32_t class_id = across ? winner[lane] : Winner(scores, anchor, best[i + lane]);
        if (class_id == kNone) continue;
        found.anchor.push_back(static_cast<std::int64_t>(anchor));
        found.score.push_back(*scores.At(static_cast<std::size_t>(class_id), anchor));
        found.class_id.push_back(class_id);
      }
    }
  }
  return found;
}

}  // namespace watchline
