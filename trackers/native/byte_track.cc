#include "byte_track.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace watchline {
void ByteTrack::Reset() {
  live_.clear();
  motion_.clear();
  clock_ = Clock();
}

std::size_t ByteTrack::Advance(const DetectionRows& given, double time_s) {
  newborn_ = clock_.Started() ? kTentative : kConfirmed;
  Predict(time_s);
  Sort(given);
  known_.clear();
  tentative_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    (live_[i].state == kTentative ? tentative_ : known_).push_back(static_cast<int>(i));
  }
  Match(known_, free_, option_.high_cost);
  DropBelow(option_.high_score);
  Match(tentative_, free_, option_.tentative_cost);

  for (const int track : known_) live_[track].state = kLost;
  for (const int track : tentative_) live_[track].state = kRemoved;
  if (!known_.empty()) JoinDuplicates();
  RemoveTheRemoved();
  DropBelow(option_.new_score);
  return free_.size();
}

// Moves the clock and the tracks that are not too old on to `time_s`.
void ByteTrack::Predict(double time_s) {
  const double before_s = clock_.now_s;
  clock_.now_s = time_s;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (live_[i].state == kLost) motion_[i].speed[3] = 0;  // an unseen object keeps its height
    if (clock_.Since(live_[i].seen_s) > option_.lost_s) live_[i].state = kRemoved;
  }
  RemoveTheRemoved();
  if (!live_.empty()) PredictMotions(motion_.data(), motion_.size(), clock_.Since(before_s) / kStep);
}

// Puts the detections in the order that counts.
void ByteTrack::Sort(const DetectionRows& given) {
  sorter_.Sort(given, option_.low_score, frame_);
  free_.resize(frame_.size());
  std::iota(free_.begin(), free_.end(), 0);
}

// Drops the free detections whose scores are below `least`. They are in order of falling scores.
void ByteTrack::DropBelow(float least) {
  while (!free_.empty() && frame_[free_.back()].score < least) free_.pop_back();
}

// Gives `boxes`, rows of the frame, to `tracks`, rows of the live ones; leaves in both what is left over.
void ByteTrack::Match(Rows& tracks, Rows& boxes, double limit) {
  if (tracks.empty() || boxes.empty()) return;
  track_objects_.clear();
  box_objects_.clear();
  for (const int track : tracks) track_objects_.push_back({ToBox(motion_[track].place), live_[track].class_id});
  for (const int box : boxes) box_objects_.push_back({frame_[box].box, frame_[box].class_id});
  weight_.clear();
  double most = 1;
  for (const int box : boxes) {
    weight_.push_back(Weight(frame_[box].score));
    most = std::max(most, weight_.back());
  }

  const auto cost = [this](int, int column, double iou) { return 1 - iou * weight_[column]; };
  const std::vector<int>& column_of = assignment_.Solve(track_objects_, box_objects_, limit, (1 - limit) / most, cost);
  std::size_t left = 0;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    const int column = column_of[i];
    if (column == kFree) {
      tracks[left++] = tracks[i];
      continue;
    }
    FollowMotion(motion_[tracks[i]], ToXyah(frame_[boxes[column]].box));
    See(live_[tracks[i]], frame_[boxes[column]], kConfirmed);
    boxes[column] = kFree;
  }
  tracks.resize(left);
  boxes.erase(std::remove(boxes.begin(), boxes.end(), kFree), boxes.end());
}

// Returns what the overlaps of a detection count for.
double ByteTrack::Weight(float score) const {
  if (score < option_.high_score) return (1 - option_.high_cost) / (1 - option_.low_cost);
  return option_.fuse_score ? score : 1.0;
}

// Notes that `track` is seen now as `box`.
void ByteTrack::See(Track& track, const Candidate& box, State state) const {
  track.state = state;
  track.seen_s = clock_.now_s;
  track.score = box.score;
  track.class_id = box.class_id;
  track.detection = box.detection;
}

// Joins lost tracks with the later one that covers them, under the id of the longest life; its own in a tie.
void ByteTrack::JoinDuplicates() {
  known_.clear();
  joined_.clear();
  track_objects_.clear();
  box_objects_.clear();
  double earliest_s = clock_.now_s;  // that a lost one was last seen
  for (const Track& track : live_) {
    if (track.state == kLost) earliest_s = std::min(earliest_s, track.seen_s);
  }
  for (std::size_t i = 0; i < live_.size(); ++i) {
    const bool lost = live_[i].state == kLost;
    if (!lost && (live_[i].state != kConfirmed || live_[i].born_s <= earliest_s)) continue;  // lived beside them all
    (lost ? known_ : joined_).push_back(static_cast<int>(i));
    (lost ? track_objects_ : box_objects_).push_back({ToBox(motion_[i].place), live_[i].class_id});
  }
  if (known_.empty() || joined_.empty()) return;
  finder_.Find(track_objects_, box_objects_, std::max(0.0, option_.duplicate_iou - kMargin), overlaps_);
  bool moved = false;
  for (std::size_t i = 0; i < known_.size(); ++i) {
    const auto first = overlaps_.overlap.begin() + overlaps_.start[i];
    const auto last = overlaps_.overlap.begin() + overlaps_.start[i + 1];
    const auto covers = [this, i](const Overlap& o) {
      if (live_[known_[i]].seen_s >= live_[joined_[o.column]].born_s) return false;  // they lived side by side
      return 1 - o.iou < 1 - option_.duplicate_iou;
    };
    const auto cover = std::find_if(first, last, covers);
    if (cover == last) continue;
    Track &old = live_[known_[i]], &now = live_[joined_[cover->column]];
    if (clock_.Since(old.born_s) - clock_.Since(old.seen_s) > clock_.Since(now.born_s)) {
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
  for (const int box : free_) {
    Track track{};
    track.id = *ids++;
    track.born_s = clock_.now_s;
    See(track, frame_[box], newborn_);
    live_.push_back(track);
    motion_.push_back(StartMotion(ToXyah(frame_[box].box)));
  }
  free_.clear();
}

// Is `track` unseen for so short a time that it is still shown?
bool ByteTrack::Coasts(const Track& track) const {
  return track.state == kLost && option_.coast_s > 0 && clock_.Since(track.seen_s) <= option_.coast_s;
}

std::size_t ByteTrack::Shown() const {
  const auto shown = [this](const Track& track) { return track.state == kConfirmed || Coasts(track); };
  return std::count_if(live_.begin(), live_.end(), shown);
}

void ByteTrack::Report(const DetectionRows& given, const TrackRows& out) const {
  std::size_t row = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    const Box place = ToBox(motion_[i].place);
    if (live_[i].state == kConfirmed) {
      out.PutSeen(row++, live_[i], clock_, place, option_.report_detection ? given.xyxy : nullptr);
    } else if (Coasts(live_[i])) {
      out.PutCoasting(row++, live_[i], clock_, place);
    }
  }
}

template <typename Field>
void ByteTrack::ForEachField(Track& track, Motion& motion, Field& field) {
  field(track.id);
  field(track.state);
  field(track.class_id);
  field(track.score);
  field(track.born_s);
  field(track.seen_s);
  field(track.detection);
  field(motion);
}

std::string ByteTrack::Save() const {
  FieldWriter writer;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    Track track = live_[i];
    Motion motion = motion_[i];
    ForEachField(track, motion, writer);
  }
  return writer.bytes;
}

bool ByteTrack::Restore(double now_s, const char* bytes, std::size_t size) {
  Track track{};
  Motion motion{};
  FieldSizes row;
  ForEachField(track, motion, row);
  if (size % row.bytes != 0) return false;
  Reset();
  clock_.now_s = now_s;
  FieldReader reader{bytes};
  for (std::size_t i = 0; i < size / row.bytes; ++i) {
    ForEachField(track, motion, reader);
    live_.push_back(track);
    motion_.push_back(motion);
  }
  return true;
}

}  // namespace watchline
