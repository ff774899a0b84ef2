#include "kalman.h"

namespace watchline {
namespace {

// Standard deviations: shares of the box height, and for the aspect a number.
constexpr double kPlace = 1.0 / 20, kSpeed = 1.0 / 160;
constexpr double kAspect = 1e-2, kAspectSpeed = 1e-5, kAspectMeasured = 1e-1;

struct Variance {
  double value[4];

  // Standard deviations are `share` of the height, the aspect's is `aspect`.
  Variance(double height, double share, double aspect) {
    const double deviation = share * height;
    value[0] = value[1] = value[3] = deviation * deviation;
    value[2] = aspect * aspect;
  }
};

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
  // Sums over k = 0 .. steps - 1 of what one step's noise in the speed has grown to k steps later.
  const double grown_place = steps * (steps - 1) * (2 * steps - 1) / 6, grown_cross = steps * (steps - 1) / 2;
  for (Motion* m = motions; m < motions + count; ++m) {
    const Variance q_place(m->place[3], kPlace, kAspect), q_speed(m->place[3], kSpeed, kAspectSpeed);
    for (int k = 2; k < 4; ++k) {
      if (m->place[k] + steps * m->speed[k] <= 0) m->speed[k] = 0;
    }
    for (int k = 0; k < 4; ++k) {
      m->place[k] += steps * m->speed[k];
      m->p_place[k] += steps * (2 * m->p_cross[k] + steps * m->p_speed[k]);
      m->p_cross[k] += steps * m->p_speed[k];
      m->p_place[k] += steps * q_place.value[k] + grown_place * q_speed.value[k];
      m->p_cross[k] += grown_cross * q_speed.value[k];
      m->p_speed[k] += steps * q_speed.value[k];
    }
  }
}

void CorrectMotion(Motion& motion, const Xyah& seen) {
  const Variance r(motion.place[3], kPlace, kAspectMeasured);
  for (int k = 0; k < 4; ++k) {
    const double gain_place = motion.p_place[k] / (motion.p_place[k] + r.value[k]);
    const double gain_speed = motion.p_cross[k] / (motion.p_place[k] + r.value[k]);
    const double surprise = seen.value[k] - motion.place[k];
    const double p_cross = motion.p_cross[k];
    motion.place[k] += gain_place * surprise;
    motion.speed[k] += gain_speed * surprise;
    motion.p_cross[k] -= gain_place * p_cross;
    motion.p_speed[k] -= gain_speed * p_cross;
    motion.p_place[k] -= gain_place * motion.p_place[k];
  }
}

}  // namespace watchline
