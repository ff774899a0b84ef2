#include "byte_track.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>

namespace watchline {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kStep = 1.0 / 30;  // seconds; the frame interval that the filter's noise was tuned for
constexpr double kFar = std::numeric_limits<float>::max();

// Returns a key that is smaller for a higher score, a number from 0 to 1; then for a lower row.
std::uint64_t SortKey(float score, std::size_t row) {
  const float positive = score + 0.0f;  // -0 is 0
  std::uint32_t bits;
  std::memcpy(&bits, &positive, sizeof bits);
  return std::uint64_t{~bits} << 32 | row;
}

// Returns the nearest whole number, the even one of two; adding 1.5 * 2^52 leaves no room for a fraction.
double Round(double value) {
  constexpr double kNoFraction = 6755399441055744.0;
  return std::abs(value) < kNoFraction / 4 ? value + kNoFraction - kNoFraction : std::nearbyint(value);
}

}  // namespace

void ByteTrack::Reset() {
  live_.clear();
  motion_.clear();
  now_s_ = -kInfinity;
}

std::size_t ByteTrack::Advance(const DetectionRows& given, double time_s) {
  newborn_ = now_s_ == -kInfinity ? kConfirmed : kTentative;
  Predict(time_s);
  Sort(given);
  known_.clear();
  tentative_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    (live_[i].state == kTentative ? tentative_ : known_).push_back(static_cast<int>(i));
  }
  Match(known_, sure_, option_.high_cost, option_.fuse_score);
  Match(known_, unsure_, option_.low_cost, false);
  Match(tentative_, sure_, option_.tentative_cost, option_.fuse_score);

  for (const int track : known_) live_[track].state = kLost;
  for (const int track : tentative_) live_[track].state = kRemoved;
  if (!known_.empty()) JoinDuplicates();
  RemoveTheRemoved();
  const auto too_low = [this](int box) { return frame_[box].score < option_.new_score; };
  sure_.erase(std::remove_if(sure_.begin(), sure_.end(), too_low), sure_.end());
  return sure_.size();
}

// Returns the seconds since `time_s`, to the microsecond: a far-off zero of time must not change results.
double ByteTrack::Since(double time_s) const { return Round((now_s_ - time_s) * 1e6) / 1e6; }

// Moves the clock and the tracks that are not too old on to `time_s`.
void ByteTrack::Predict(double time_s) {
  const double before_s = now_s_;
  now_s_ = time_s;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (live_[i].state == kLost) motion_[i].speed[3] = 0;  // an unseen object keeps its height
    if (Since(live_[i].seen_s) > option_.lost_s) live_[i].state = kRemoved;
  }
  RemoveTheRemoved();
  if (!live_.empty()) PredictMotions(motion_.data(), motion_.size(), Since(before_s) / kStep);
}

// Puts the detections in the order that counts: by falling score, then class, then place from the lower edge on.
void ByteTrack::Sort(const DetectionRows& given) {
  keys_.clear();
  for (std::size_t row = 0; row < given.count; ++row) {
    if (given.score[row] >= option_.low_score) keys_.push_back(SortKey(given.score[row], row));
  }
  std::sort(keys_.begin(), keys_.end());
  frame_.clear();
  sure_.clear();
  unsure_.clear();
  for (const std::uint64_t key : keys_) {
    const std::size_t row = key & 0xffffffff;
    const float* corner = given.xyxy + 4 * row;
    (given.score[row] >= option_.high_score ? sure_ : unsure_).push_back(static_cast<int>(frame_.size()));
    frame_.push_back({{corner[0], corner[1], corner[2], corner[3]},
                      given.score[row],
                      given.class_id[row],
                      static_cast<std::int32_t>(row)});
  }
  const auto rank = [](const Candidate& c) { return std::tie(c.class_id, c.box.y2, c.box.x2, c.box.y1, c.box.x1); };
  for (std::size_t begin = 0, end; begin < frame_.size(); begin = end) {
    for (end = begin + 1; end < frame_.size() && frame_[end].score == frame_[begin].score;) ++end;
    if (end - begin == 1) continue;
    std::stable_sort(frame_.begin() + begin, frame_.begin() + end,
                     [&rank](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
  }
}

// Gives `boxes`, rows of the frame, to `tracks`, rows of the live ones; leaves in both what is left over.
void ByteTrack::Match(Rows& tracks, Rows& boxes, double limit, bool fuse) {
  if (tracks.empty() || boxes.empty()) return;
  track_objects_.clear();
  box_objects_.clear();
  for (const int track : tracks) track_objects_.push_back({ToBox(motion_[track].place), live_[track].class_id});
  for (const int box : boxes) box_objects_.push_back({frame_[box].box, frame_[box].class_id});
  weight_.clear();
  for (const int box : boxes) weight_.push_back(fuse ? frame_[box].score : 1.0);

  const auto cost = [this](double iou, int column) { return 1 - iou * weight_[column]; };
  const std::vector<int>& column_of = assignment_.Solve(track_objects_, box_objects_, limit, cost);
  std::size_t left = 0;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    const int column = column_of[i];
    if (column == kFree) {
      tracks[left++] = tracks[i];
      continue;
    }
    CorrectMotion(motion_[tracks[i]], ToXyah(frame_[boxes[column]].box));
    See(live_[tracks[i]], frame_[boxes[column]], kConfirmed);
    boxes[column] = kFree;
  }
  tracks.resize(left);
  boxes.erase(std::remove(boxes.begin(), boxes.end(), kFree), boxes.end());
}

// Notes that `track` is seen now as `box`.
void ByteTrack::See(Track& track, const Candidate& box, State state) const {
  track.state = state;
  track.seen_s = now_s_;
  track.score = box.score;
  track.class_id = box.class_id;
  track.detection = box.detection;
}

// Joins lost tracks with the seen one that covers them, under the id of the longest life; its own in a tie.
void ByteTrack::JoinDuplicates() {
  known_.clear();
  joined_.clear();
  track_objects_.clear();
  box_objects_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (live_[i].state != kLost && live_[i].state != kConfirmed) continue;
    const bool lost = live_[i].state == kLost;
    (lost ? known_ : joined_).push_back(static_cast<int>(i));
    (lost ? track_objects_ : box_objects_).push_back({ToBox(motion_[i].place), live_[i].class_id});
  }
  if (known_.empty() || joined_.empty()) return;
  finder_.Find(track_objects_, box_objects_, std::max(0.0, option_.duplicate_iou - kMargin), overlaps_);
  bool moved = false;
  for (std::size_t i = 0; i < known_.size(); ++i) {
    const auto first = overlaps_.overlap.begin() + overlaps_.start[i];
    const auto last = overlaps_.overlap.begin() + overlaps_.start[i + 1];
    const auto covers = [this](const Overlap& o) { return 1 - o.iou < 1 - option_.duplicate_iou; };
    const auto cover = std::find_if(first, last, covers);
    if (cover == last) continue;
    Track &old = live_[known_[i]], &now = live_[joined_[cover->column]];
    if (Since(old.born_s) - Since(old.seen_s) > Since(now.born_s)) {
      now.id = old.id;
      now.born_s = old.born_s;
      moved = true;
    }
    old.state = kRemoved;
  }
  if (moved) SortById();
}

// Drops the tracks whose state is kRemoved.
void ByteTrack::RemoveTheRemoved() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (live_[i].state == kRemoved) continue;
    if (kept != i) {
      live_[kept] = live_[i];
      motion_[kept] = motion_[i];
    }
    ++kept;
  }
  live_.resize(kept);
  motion_.resize(kept);
}

void ByteTrack::SortById() {
  std::vector<std::pair<Track, Motion>> both;
  for (std::size_t i = 0; i < live_.size(); ++i) both.emplace_back(live_[i], motion_[i]);
  std::stable_sort(both.begin(), both.end(), [](const auto& a, const auto& b) { return a.first.id < b.first.id; });
  for (std::size_t i = 0; i < live_.size(); ++i) std::tie(live_[i], motion_[i]) = both[i];
}

void ByteTrack::Begin(const std::int64_t* ids) {
  for (const int box : sure_) {
    Track track{};
    track.id = *ids++;
    track.born_s = now_s_;
    See(track, frame_[box], newborn_);
    live_.push_back(track);
    motion_.push_back(StartMotion(ToXyah(frame_[box].box)));
  }
  sure_.clear();
}

std::size_t ByteTrack::Seen() const {
  return std::count_if(live_.begin(), live_.end(), [](const Track& track) { return track.state == kConfirmed; });
}

void ByteTrack::Report(const DetectionRows& given, const TrackRows& out) const {
  std::size_t row = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    const Track& track = live_[i];
    if (track.state != kConfirmed) continue;
    float* xyxy = out.xyxy + 4 * row;
    if (option_.report_detection) {
      std::copy_n(given.xyxy + 4 * static_cast<std::size_t>(track.detection), 4, xyxy);
    } else {
      const Box box = ToBox(motion_[i].place);
      const double corners[4] = {box.x1, box.y1, box.x2, box.y2};
      for (int k = 0; k < 4; ++k) xyxy[k] = static_cast<float>(std::clamp(corners[k], -kFar, kFar));
    }
    out.track_id[row] = track.id;
    out.score[row] = track.score;
    out.class_id[row] = track.class_id;
    out.state[row] = track.state;
    out.age_s[row] = static_cast<float>(Since(track.born_s));
    out.detection[row] = track.detection;
    ++row;
  }
}

}  // namespace watchline
