// What the trackers share: states, a clock, the rows that come out, and the bytes that tracks are saved as.
//
// Twin: trackers/table.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "iou.h"

namespace watchline {

enum State : std::uint8_t { kTentative, kConfirmed, kLost, kRemoved };  // as TrackState

constexpr double kStep = 1.0 / 30;  // seconds; the frame interval that the filters' noise was tuned for

// Returns the nearest whole number, the even one of two; adding 1.5 * 2^52 leaves no room for a fraction.
inline double Round(double value) {
  constexpr double kNoFraction = 6755399441055744.0;
  return std::abs(value) < kNoFraction / 4 ? value + kNoFraction - kNoFraction : std::nearbyint(value);
}

struct Clock {
  double now_s = -std::numeric_limits<double>::infinity();  // no frame yet

  // Returns the seconds since `time_s`, to the microsecond: a far-off zero of time must not change results.
  double Since(double time_s) const { return Round((now_s - time_s) * 1e6) / 1e6; }

  bool Started() const { return now_s > -std::numeric_limits<double>::infinity(); }
};

// Where the tracks go that a frame shows: as many of each as a tracker's `Shown` says, four times as many of `xyxy`.
struct TrackRows {
  std::int64_t* track_id;
  float* xyxy;
  float* score;
  std::int32_t* class_id;
  std::uint8_t* state;
  float* age_s;
  std::int32_t* detection;

  // Writes a track; its box is that of its detection, a row of `detected`, or else `place`.
  template <typename Track>
  void PutSeen(std::size_t row, const Track& track, const Clock& clock, const Box& place, const float* detected) const {
    Put(row, track, clock, place, kConfirmed, track.detection);
    if (detected) std::copy_n(detected + 4 * static_cast<std::size_t>(track.detection), 4, xyxy + 4 * row);
  }

  // Writes a track that is not seen now, and expected at `place`.
  template <typename Track>
  void PutCoasting(std::size_t row, const Track& track, const Clock& clock, const Box& place) const {
    Put(row, track, clock, place, kLost, -1);
  }

 private:
  template <typename Track>
  void Put(std::size_t row, const Track& track, const Clock& clock, const Box& place, State its_state,
           std::int32_t its_detection) const {
    constexpr double kFar = std::numeric_limits<float>::max();
    const double corner[4] = {place.x1, place.y1, place.x2, place.y2};
    for (int k = 0; k < 4; ++k) xyxy[4 * row + k] = static_cast<float>(std::clamp(corner[k], -kFar, kFar));
    track_id[row] = track.id;
    score[row] = track.score;
    class_id[row] = track.class_id;
    state[row] = its_state;
    age_s[row] = static_cast<float>(clock.Since(track.born_s));
    detection[row] = its_detection;
  }
};

// Tracks as bytes, field after field without gaps, as the twin's table has them in memory (little-endian). A tracker
// names its fields once, `for_each_field(track, f)`; each of these is such an `f`.

struct FieldSizes {
  std::size_t bytes = 0;

  template <typename Value>
  void operator()(Value&) {
    bytes += sizeof(Value);
  }
};

struct FieldWriter {
  std::string bytes;

  template <typename Value>
  void operator()(const Value& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
};

struct FieldReader {
  const char* next;

  template <typename Value>
  void operator()(Value& value) {
    std::memcpy(&value, next, sizeof value);
    next += sizeof value;
  }
};

}  // namespace watchline
