#include "oc_sort.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace watchline {
namespace {

constexpr std::int64_t kMostStops = 30;  // boxes made up on the way through a gap
constexpr double kNever = 9;             // the cost of a pair that is not to be

}  // namespace

// Makes `its_box` the newest observation; the oldest is forgotten.
void OcSort::Past::Add(const Box& its_box, double its_time_s) {
  newest = Slot(newest, kPast - 1);
  box[newest] = its_box;
  time_s[newest] = its_time_s;
}

// Returns the oldest observation of the last `most_s` seconds; else the newest.
const Box& OcSort::Past::Back(const Clock& clock, double most_s) const {
  int back = 0;
  while (back < kPast && clock.Since(time_s[Slot(newest, back)]) <= most_s) ++back;
  return box[Slot(newest, std::max(back - 1, 0))];
}

void OcSort::Reset() {
  live_.clear();
  past_.clear();
  motion_.clear();
  clock_ = Clock();
}

std::size_t OcSort::Advance(const DetectionRows& given, double time_s) {
  confirm_hits_ = clock_.Started() ? option_.confirm_hits : 1;
  MoveClock(time_s);
  Sort(given);
  Expect();
  missed_.resize(live_.size());
  std::iota(missed_.begin(), missed_.end(), 0);

  const auto expected = [this](int track) { return expected_[track]; };
  const auto last = [this](int track) { return past_[track].Last(); };
  const auto no_bonus = [](int, int) { return 0.0; };
  const auto bonus = [this](int track, int box) {
    const double agreement = Agreement(Towards(turn_[track], frame_[box].box), live_[track].direction);
    return option_.inertia * agreement * frame_[box].score;
  };
  Match(missed_, high_, option_.min_iou, expected, bonus);
  Match(missed_, low_, option_.low_iou, expected, no_bonus);
  Match(missed_, high_, option_.min_iou, last, no_bonus);

  for (const int track : missed_) {
    ++live_[track].missed;
    live_[track].streak = 0;
  }
  for (Track& track : live_) {
    if (track.streak >= confirm_hits_) track.state = kConfirmed;
  }
  return high_.size();
}

// Moves the clock on to `time_s` and drops the tracks that are too old then.
void OcSort::MoveClock(double time_s) {
  clock_.now_s = time_s;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (clock_.Since(live_[i].seen_s) > option_.lost_s) continue;
    if (kept != i) {
      live_[kept] = live_[i];
      past_[kept] = past_[i];
      motion_[kept] = motion_[i];
    }
    ++kept;
  }
  live_.resize(kept);
  past_.resize(kept);
  motion_.resize(kept);
}

// Puts the detections in the order that counts, and tells high scores from low.
void OcSort::Sort(const DetectionRows& given) {
  sorter_.Sort(given, option_.low_score, frame_);
  high_.clear();
  low_.clear();
  for (std::size_t i = 0; i < frame_.size(); ++i) {
    (frame_[i].score >= option_.det_score ? high_ : low_).push_back(static_cast<int>(i));
  }
}

// Looks forward and back, for every track.
void OcSort::Expect() {
  steps_.clear();
  expected_.clear();
  turn_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    steps_.push_back(clock_.Since(live_[i].seen_s) / kStep);
    expected_.push_back(ExpectXysr(motion_[i], steps_[i]));
    turn_.push_back(past_[i].Back(clock_, option_.direction_s));
  }
}

// Gives `boxes`, rows of the frame, to `tracks`, rows of the live ones, by overlap with the `place` of each track, less
// the `bonus` of the pair; leaves in both what is left over.
template <typename Place, typename Bonus>
void OcSort::Match(Rows& tracks, Rows& boxes, double least_iou, const Place& place, const Bonus& bonus) {
  if (tracks.empty() || boxes.empty()) return;
  track_objects_.clear();
  box_objects_.clear();
  for (const int track : tracks) track_objects_.push_back({place(track), live_[track].class_id});
  for (const int box : boxes) box_objects_.push_back({frame_[box].box, frame_[box].class_id});

  const auto cost = [&](int row, int column, double iou) {
    return 1 - iou > 1 - least_iou ? kNever : 1 - iou - bonus(tracks[row], boxes[column]);
  };
  const std::vector<int>& column_of = assignment_.Solve(track_objects_, box_objects_, 1, least_iou, cost);
  std::size_t left = 0;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    const int column = column_of[i];
    if (column == kFree) {
      tracks[left++] = tracks[i];
      continue;
    }
    See(tracks[i], frame_[boxes[column]]);
    boxes[column] = kFree;
  }
  tracks.resize(left);
  boxes.erase(std::remove(boxes.begin(), boxes.end(), kFree), boxes.end());
}

// Gives `box` to a track and mends its motion through a gap.
void OcSort::See(int track, const Candidate& box) {
  live_[track].direction = Towards(turn_[track], box.box);
  const std::int64_t stops = std::min(live_[track].missed, kMostStops - 1) + 1;
  FollowXysr(motion_[track], past_[track].Last(), box.box, steps_[track], stops);
  Note(track, box);
}

// Writes down that a track is seen now as `box`.
void OcSort::Note(int row, const Candidate& box) {
  Track& track = live_[row];
  past_[row].Add(box.box, clock_.now_s);
  track.seen_s = clock_.now_s;
  track.missed = 0;
  ++track.streak;
  track.score = box.score;
  track.class_id = box.class_id;
  track.detection = box.detection;
}

void OcSort::Begin(const std::int64_t* ids) {
  for (const int box : high_) {
    Track track{};
    track.id = *ids++;
    track.born_s = clock_.now_s;
    if (confirm_hits_ <= 1) track.state = kConfirmed;
    Past past{};
    std::fill_n(past.time_s, kPast, -std::numeric_limits<double>::infinity());
    live_.push_back(track);
    past_.push_back(past);
    motion_.push_back(StartXysr(ToXysr(frame_[box].box)));
    Note(static_cast<int>(live_.size()) - 1, frame_[box]);
  }
  high_.clear();
}

bool OcSort::Coasts(const Track& track) const {
  return track.state == kConfirmed && track.missed > 0 && option_.coast_s > 0 &&
         clock_.Since(track.seen_s) <= option_.coast_s;
}

std::size_t OcSort::Shown() const {
  const auto shown = [this](const Track& track) {
    return (track.state == kConfirmed && track.missed == 0) || Coasts(track);
  };
  return std::count_if(live_.begin(), live_.end(), shown);
}

void OcSort::Report(const DetectionRows& given, const TrackRows& out) const {
  std::size_t row = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    const Track& track = live_[i];
    if (track.state == kConfirmed && track.missed == 0) {
      const Box place = XysrToBox(motion_[i].place);
      out.PutSeen(row++, track, clock_, place, option_.report_detection ? given.xyxy : nullptr);
    } else if (Coasts(track)) {
      out.PutCoasting(row++, track, clock_, expected_[i]);
    }
  }
}

template <typename Field>
void OcSort::ForEachField(Track& track, Past& past, Motion& motion, Field& field) {
  field(track.id);
  field(track.state);
  field(track.class_id);
  field(track.score);
  field(track.born_s);
  field(track.seen_s);
  field(track.streak);
  field(track.missed);
  field(track.detection);
  field(track.direction);
  for (int back = 0; back < kPast; ++back) field(past.box[Past::Slot(past.newest, back)]);
  for (int back = 0; back < kPast; ++back) field(past.time_s[Past::Slot(past.newest, back)]);
  field(motion);
}

std::string OcSort::Save() const {
  FieldWriter writer;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    Track track = live_[i];
    Past past = past_[i];
    Motion motion = motion_[i];
    ForEachField(track, past, motion, writer);
  }
  return writer.bytes;
}

bool OcSort::Restore(double now_s, const char* bytes, std::size_t size) {
  Track track{};
  Past past{};
  Motion motion{};
  FieldSizes row;
  ForEachField(track, past, motion, row);
  if (size % row.bytes != 0) return false;
  Reset();
  clock_.now_s = now_s;
  FieldReader reader{bytes};
  for (std::size_t i = 0; i < size / row.bytes; ++i) {
    ForEachField(track, past, motion, reader);
    live_.push_back(track);
    past_.push_back(past);
    motion_.push_back(motion);
  }
  return true;
}

// Returns the direction from the centre of `start` to that of `end`.
OcSort::Direction OcSort::Towards(const Box& start, const Box& end) {
  const double x = (end.x1 + end.x2) / 2 - (start.x1 + start.x2) / 2;
  const double y = (end.y1 + end.y2) / 2 - (start.y1 + start.y2) / 2;
  const double length = std::sqrt(x * x + y * y);
  return length > 0 ? Direction{x / length, y / length} : Direction{0, 0};
}

// Returns 0.5 - the angle between `a` and `b` in half turns, to 1.5e-5: from 0.5, the same way, to -0.5, the other way.
double OcSort::Agreement(const Direction& a, const Direction& b) {
  const double cosine = a.x * b.x + a.y * b.y, size = std::min(std::abs(cosine), 1.0);
  const double angle = std::sqrt(1 - size) * (0.5 + size * (-0.067896 + size * (0.024822 - size * 0.006889)));
  return std::copysign(0.5 - angle, cosine);
}

}  // namespace watchline
