#include "oc_sort_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "lapjv.h"

namespace watchline {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kLowScore = 0.1;
constexpr double kShort = 1e-6;  // pixels; keeps directions finite
constexpr ScoredBox kNone{{-1, -1, -1, -1}, -1};
constexpr std::int64_t kNever = -1;  // an age that no track is seen at: the first frame, at age 0, is no observation

bool IsFinite(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
}

}  // namespace

void OcSortReference::Reset() {
  live_.clear();
  frame_ = 0;
}

std::size_t OcSortReference::Advance(const Frame& frame) {
  ++frame_;
  high_.clear();
  low_.clear();
  for (std::size_t i = 0; i < frame.size(); ++i) {
    const double score = frame[i].score;
    if (score > option_.det_thresh) high_.push_back(static_cast<int>(i));
    if (score > kLowScore && score < option_.det_thresh) low_.push_back(static_cast<int>(i));
  }
  Predict();
  earlier_.clear();
  for (const Track& track : live_) earlier_.push_back(Earlier(track));

  missed_.resize(live_.size());
  std::iota(missed_.begin(), missed_.end(), 0);
  FirstRound(frame);
  if (option_.use_byte) LaterRound(frame, low_, expected_);
  std::vector<Box>& last = expected_;
  for (std::size_t i = 0; i < live_.size(); ++i) last[i] = live_[i].last.box;
  LaterRound(frame, high_, last);
  for (const int track : missed_) {
    if (live_[track].unseen == 1) live_[track].frozen = live_[track].motion;
  }
  return high_.size();
}

// Moves all tracks on by a frame and drops those without a box then.
void OcSortReference::Predict() {
  expected_.clear();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    Track& track = live_[i];
    PredictXysr(track.motion, 1);
    ++track.age;
    if (track.unseen > 0) track.streak = 0;
    ++track.unseen;
    const Box box = XysrToBox(track.motion.place);
    if (!IsFinite(box)) continue;
    expected_.push_back(box);
    if (kept != i) live_[kept] = std::move(track);
    ++kept;
  }
  live_.resize(kept);
}

// Returns the oldest observation of the last `delta_t` frames; else the last.
const ScoredBox& OcSortReference::Earlier(const Track& track) const {
  for (std::int64_t age = std::max<std::int64_t>(track.age - option_.delta_t, 0); age < track.age; ++age) {
    const Observation& past = track.past[age % option_.delta_t];
    if (past.age == age) return past.seen;
  }
  return track.last;
}

// Pairs high boxes and all tracks by overlap and direction.
void OcSortReference::FirstRound(const Frame& frame) {
  if (high_.empty() || missed_.empty()) return;
  Measure(frame, high_, expected_);
  if (!TakeObvious()) {  // else there is nothing to decide: the direction is not asked
    AddDirections(frame);
    Solve();
  }
  Take(frame, high_);
}

// Pairs `boxes` and the tracks left by their overlap with the tracks' `places`; what is left over stays in both. Where
// nothing overlaps enough, that keeps its order; else it is sorted.
void OcSortReference::LaterRound(const Frame& frame, Rows& boxes, const std::vector<Box>& places) {
  if (boxes.empty() || missed_.empty()) return;
  Measure(frame, boxes, places);
  if (*std::max_element(overlap_.begin(), overlap_.end()) <= option_.iou_threshold) return;
  cost_.resize(overlap_.size());
  std::transform(overlap_.begin(), overlap_.end(), cost_.begin(), [](double overlap) { return -overlap; });
  Solve();
  Take(frame, boxes);
  std::sort(boxes.begin(), boxes.end());
  std::sort(missed_.begin(), missed_.end());
}

// Writes the overlap of each of `boxes`, the rows, with the place of each track left, the columns.
void OcSortReference::Measure(const Frame& frame, const Rows& boxes, const std::vector<Box>& places) {
  overlap_.resize(boxes.size() * missed_.size());
  double* overlap = overlap_.data();
  for (const int box : boxes) {
    for (const int track : missed_) *overlap++ = Iou(frame[box].box, places[track]);
  }
  column_of_.assign(boxes.size(), kFree);
  row_of_.assign(missed_.size(), kFree);
}

// Makes all pairs that overlap enough, where there are some and no box or track is in two of them; says whether.
bool OcSortReference::TakeObvious() {
  const double* overlap = overlap_.data();
  bool any = false, twice = false;
  for (std::size_t i = 0; i < column_of_.size(); ++i) {
    for (std::size_t j = 0; j < row_of_.size(); ++j) {
      if (!(*overlap++ > option_.iou_threshold)) continue;
      twice |= column_of_[i] != kFree || row_of_[j] != kFree;
      any = true;
      column_of_[i] = static_cast<int>(j);
      row_of_[j] = static_cast<int>(i);
    }
  }
  return any && !twice;
}

// Makes the cost of the first round: a pair is the better the less the track would have to turn for it, at any
// distance.
void OcSortReference::AddDirections(const Frame& frame) {
  const std::size_t count = live_.size();
  ways_.Resize(count);
  for (std::size_t j = 0; j < count; ++j) {
    const Box& from = earlier_[j].box;
    ways_.from_x[j] = (from.x1 + from.x2) / 2;
    ways_.from_y[j] = (from.y1 + from.y2) / 2;
    ways_.along_x[j] = live_[j].direction.x;
    ways_.along_y[j] = live_[j].direction.y;
    ways_.known[j] = earlier_[j].score >= 0 && (live_[j].direction.x != 0 || live_[j].direction.y != 0);
  }
  cost_.resize(overlap_.size());
  double* cost = cost_.data();
  const double* overlap = overlap_.data();
  for (const int row : high_) {
    const auto& [box, score] = frame[row];
    ways_.Turn((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2);
    for (std::size_t j = 0; j < count; ++j, ++cost, ++overlap) {
      double bonus = 0;  // also of a right angle: to a track without a direction all angles are right
      if (ways_.known[j]) bonus = (kPi / 2 - std::acos(ways_.cosine[j])) / kPi * option_.inertia;
      *cost = -(*overlap + bonus * score);
    }
  }
}

void OcSortReference::Ways::Resize(std::size_t count) {
  for (std::vector<double>* each : {&from_x, &from_y, &along_x, &along_y, &cosine}) each->resize(count);
  known.resize(count);
}

// Computes the cosine of the angle between each direction and the way to (`x`, `y`). Sums as in Towards.
void OcSortReference::Ways::Turn(double x, double y) {
  const std::size_t count = cosine.size();
  const double *fx = from_x.data(), *fy = from_y.data(), *ax = along_x.data(), *ay = along_y.data();
  double* out = cosine.data();
  for (std::size_t j = 0; j < count; ++j) {
    const double dx = x - fx[j], dy = y - fy[j];
    const double length = std::sqrt(dx * dx + dy * dy) + kShort;
    out[j] = std::min(std::max(dx / length * ax[j] + dy / length * ay[j], -1.0), 1.0);
  }
}

void OcSortReference::Solve() {
  Lapjv(column_of_.size(), row_of_.size(), cost_.data(), std::numeric_limits<double>::infinity(), column_of_.data(),
        row_of_.data());
}

// Notes the pairs that overlap enough as seen. Leaves the others in `boxes` and in the tracks left, behind those that
// are in no pair: the order that new tracks begin in.
void OcSortReference::Take(const Frame& frame, Rows& boxes) {
  boxes_left_.clear();
  tracks_left_.clear();
  for (std::size_t j = 0; j < row_of_.size(); ++j) {
    if (row_of_[j] == kFree) tracks_left_.push_back(missed_[j]);
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (column_of_[i] == kFree) boxes_left_.push_back(boxes[i]);
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const int column = column_of_[i];
    if (column == kFree) continue;
    if (overlap_[i * row_of_.size() + column] >= option_.iou_threshold) {
      See(missed_[column], frame, boxes[i]);
    } else {
      boxes_left_.push_back(boxes[i]);
      tracks_left_.push_back(missed_[column]);
    }
  }
  boxes.swap(boxes_left_);
  missed_.swap(tracks_left_);
}

// Notes that a track is seen as `box`; a box after a gap is learnt twice, as the program does.
void OcSortReference::See(int row, const Frame& frame, int box) {
  Track& track = live_[row];
  const ScoredBox& now = frame[box];
  const Xysr seen = ToXysr(now.box);
  if (Sum(track.last) >= 0) track.direction = Towards(earlier_[row].box, now.box);  // far outside the picture: as none
  if (track.last.score >= 0 && track.unseen > 1) {
    track.motion = RetraceXysr(track.frozen, ToXysr(track.last.box), seen, track.unseen);
  }
  CorrectXysr(track.motion, seen);
  track.last = now;
  track.past[track.age % option_.delta_t] = {track.age, now};
  track.unseen = 0;
  ++track.streak;
  track.score = now.score;
  track.detection = box;
}

void OcSortReference::Begin(const Frame& frame, const std::int64_t* ids) {
  for (const int box : high_) {
    Track track{};
    track.id = *ids++;
    track.last = kNone;
    track.past.assign(option_.delta_t, {kNever, kNone});
    track.score = frame[box].score;
    track.detection = box;
    track.motion = StartXysr(ToXysr(frame[box].box));
    live_.push_back(std::move(track));
  }
  const auto old = [this](const Track& track) { return track.unseen > option_.max_age; };
  live_.erase(std::remove_if(live_.begin(), live_.end(), old), live_.end());
}

bool OcSortReference::Shown(const Track& track) const {
  return track.unseen == 0 && (track.streak >= option_.min_hits || frame_ <= option_.min_hits);
}

std::size_t OcSortReference::Seen() const {
  return std::count_if(live_.begin(), live_.end(), [this](const Track& track) { return Shown(track); });
}

// The youngest track comes first, with the detection's box where it counts as an observation.
void OcSortReference::Report(const RowArrays& out) const {
  std::size_t row = 0;
  for (auto track = live_.rbegin(); track != live_.rend(); ++track) {
    if (!Shown(*track)) continue;
    const Box box = Sum(track->last) < 0 ? XysrToBox(track->motion.place) : track->last.box;
    out.Put(row++, track->id, box, track->score, track->detection);
  }
}

std::vector<std::int64_t> OcSortReference::Held() const {
  std::vector<std::int64_t> ids;
  for (const Track& track : live_) ids.push_back(track.id);
  return ids;
}

// Returns the direction from the centre of `start` to that of `end`.
OcSortReference::Direction OcSortReference::Towards(const Box& start, const Box& end) {
  const double x = (end.x1 + end.x2) / 2 - (start.x1 + start.x2) / 2;
  const double y = (end.y1 + end.y2) / 2 - (start.y1 + start.y2) / 2;
  const double length = std::sqrt(x * x + y * y) + kShort;
  return {x / length, y / length};
}

double OcSortReference::Sum(const ScoredBox& observation) {
  const Box& box = observation.box;
  return box.x1 + box.y1 + box.x2 + box.y2 + observation.score;
}

}  // namespace watchline
