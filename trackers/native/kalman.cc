#include "kalman.h"

#include <cmath>

namespace watchline {
namespace {

// Standard deviations: shares of the box height, and for the aspect a number.
constexpr double kPlace = 1.0 / 20, kSpeed = 1.0 / 160;
constexpr double kAspect = 1e-2, kAspectSpeed = 1e-5, kAspectMeasured = 1e-1, kAspectFollowed = 2e-2;

// Variances of xysr; the aspect has no speed.
constexpr double kXysrStart = 10, kXysrSpeedStart[4] = {1e4, 1e4, 1e4, 0};
constexpr double kXysrNoise[4] = {1, 1, 1, 1}, kXysrSpeedNoise[4] = {1e-2, 1e-2, 1e-4, 0};
constexpr double kXysrMeasured[4] = {1, 1, 10, 10}, kXysrFollowed[4] = {1, 1, 2, 2};

struct Variance {
  double value[4];

  // Standard deviations are `share` of the height, the aspect's is `aspect`.
  Variance(double height, double share, double aspect) {
    const double deviation = share * height;
    value[0] = value[1] = value[3] = deviation * deviation;
    value[2] = aspect * aspect;
  }
};

// A time of `steps`, and what the noise of one step's speed has grown to in it: sums over k = 0 .. steps - 1.
struct Leap {
  double steps, grown_place, grown_cross;

  explicit Leap(double steps)
      : steps(steps), grown_place(steps * (steps - 1) * (2 * steps - 1) / 6), grown_cross(steps * (steps - 1) / 2) {}
};

void Move(Motion& m, const double* q_place, const double* q_speed, const Leap& leap) {
  const double steps = leap.steps;
  for (int k = 0; k < 4; ++k) {
    m.place[k] += steps * m.speed[k];
    m.p_place[k] += steps * (2 * m.p_cross[k] + steps * m.p_speed[k]);
    m.p_cross[k] += steps * m.p_speed[k];
    m.p_place[k] += steps * q_place[k] + leap.grown_place * q_speed[k];
    m.p_cross[k] += leap.grown_cross * q_speed[k];
    m.p_speed[k] += steps * q_speed[k];
  }
}

void Correct(Motion& motion, const double* seen, const double* r) {
  for (int k = 0; k < 4; ++k) {
    const double gain_place = motion.p_place[k] / (motion.p_place[k] + r[k]);
    const double gain_speed = motion.p_cross[k] / (motion.p_place[k] + r[k]);
    const double surprise = seen[k] - motion.place[k];
    const double p_cross = motion.p_cross[k];
    motion.place[k] += gain_place * surprise;
    motion.speed[k] += gain_speed * surprise;
    motion.p_cross[k] -= gain_place * p_cross;
    motion.p_speed[k] -= gain_speed * p_cross;
    motion.p_place[k] -= gain_place * motion.p_place[k];
  }
}

void MoveXyah(Motion& m, const Leap& leap) {
  const Variance q_place(m.place[3], kPlace, kAspect), q_speed(m.place[3], kSpeed, kAspectSpeed);
  Move(m, q_place.value, q_speed.value, leap);
}

void MoveXysr(Motion& m, const Leap& leap) { Move(m, kXysrNoise, kXysrSpeedNoise, leap); }

struct Size {
  double width, height;
};

// Not numbers where area and aspect belong to no box.
Size SizeOf(const double xysr[4]) {
  const double width = std::sqrt(xysr[2] * xysr[3]);
  return {width, xysr[2] / width};
}

}  // namespace

Xyah ToXyah(const Box& box) {
  const double width = box.x2 - box.x1, height = box.y2 - box.y1;
  return {{box.x1 + width / 2, box.y1 + height / 2, width / height, height}};
}

Box ToBox(const double place[4]) {
  const double half_width = place[2] * place[3] / 2, half_height = place[3] / 2;
  return {place[0] - half_width, place[1] - half_height, place[0] + half_width, place[1] + half_height};
}

Motion StartMotion(const Xyah& box) {
  const double height = box.value[3];
  const Variance p_place(height, 2 * kPlace, kAspect), p_speed(height, 10 * kSpeed, kAspectSpeed);
  Motion motion{};
  for (int k = 0; k < 4; ++k) {
    motion.place[k] = box.value[k];
    motion.p_place[k] = p_place.value[k];
    motion.p_speed[k] = p_speed.value[k];
  }
  return motion;
}

void PredictMotions(Motion* motions, std::size_t count, double steps) {
  const Leap leap(steps);
  for (Motion* m = motions; m < motions + count; ++m) {
    for (int k = 2; k < 4; ++k) {
      if (m->place[k] + steps * m->speed[k] <= 0) m->speed[k] = 0;
    }
    MoveXyah(*m, leap);
  }
}

void DriftMotion(Motion& motion) { MoveXyah(motion, Leap(1)); }

void CorrectMotion(Motion& motion, const Xyah& seen) {
  const Variance r(motion.place[3], kPlace, kAspectMeasured);
  Correct(motion, seen.value, r.value);
}

void FollowMotion(Motion& motion, const Xyah& seen) {
  const Variance r(motion.place[3], kPlace, kAspectFollowed);
  Correct(motion, seen.value, r.value);
}

Xysr ToXysr(const Box& box) {
  const double width = box.x2 - box.x1, height = box.y2 - box.y1;
  // The 1e-6 is as SORT's users have it: the height comes back 5e-7 off.
  return {{box.x1 + width / 2, box.y1 + height / 2, width * height, width / (height + 1e-6)}};
}

Box XysrToBox(const double place[4]) {
  const Size size = SizeOf(place);
  const double half_width = size.width / 2, half_height = size.height / 2;
  return {place[0] - half_width, place[1] - half_height, place[0] + half_width, place[1] + half_height};
}

Motion StartXysr(const Xysr& box) {
  Motion motion{};
  for (int k = 0; k < 4; ++k) {
    motion.place[k] = box.value[k];
    motion.p_place[k] = kXysrStart;
    motion.p_speed[k] = kXysrSpeedStart[k];
  }
  return motion;
}

void PredictXysr(Motion& motion, double steps) {
  if (motion.place[2] + steps * motion.speed[2] <= 0) motion.speed[2] = 0;
  MoveXysr(motion, Leap(steps));
}

Box ExpectXysr(const Motion& motion, double steps) {
  double place[4];
  for (int k = 0; k < 4; ++k) place[k] = motion.place[k] + steps * motion.speed[k];
  if (place[2] <= 0) place[2] = motion.place[2];
  return XysrToBox(place);
}

void CorrectXysr(Motion& motion, const Xysr& seen) { Correct(motion, seen.value, kXysrMeasured); }

Motion RetraceXysr(Motion motion, const Xysr& first, const Xysr& last, std::int64_t gap) {
  const Size before = SizeOf(first.value), after = SizeOf(last.value);
  const double start[4] = {first.value[0], first.value[1], before.width, before.height};
  const double end[4] = {last.value[0], last.value[1], after.width, after.height};
  double stride[4];
  for (int k = 0; k < 4; ++k) stride[k] = (end[k] - start[k]) / static_cast<double>(gap);
  for (std::int64_t step = 1; step <= gap; ++step) {
    if (step > 1) MoveXysr(motion, Leap(1));
    double at[4];
    for (int k = 0; k < 4; ++k) at[k] = start[k] + static_cast<double>(step) * stride[k];
    CorrectXysr(motion, {{at[0], at[1], at[2] * at[3], at[2] / at[3]}});
  }
  return motion;
}

void FollowXysr(Motion& motion, const Box& first, const Box& last, double steps, std::int64_t stops) {
  for (std::int64_t stop = 1; stop <= stops; ++stop) {
    const double share = static_cast<double>(stop) / static_cast<double>(stops);
    const auto between = [share](double from, double to) { return (1 - share) * from + share * to; };
    const Box box{between(first.x1, last.x1), between(first.y1, last.y1), between(first.x2, last.x2),
                  between(first.y2, last.y2)};
    PredictXysr(motion, steps / static_cast<double>(stops));
    Correct(motion, ToXysr(box).value, kXysrFollowed);
  }
}

}  // namespace watchline
