#include "byte_track_reference.h"

#include <algorithm>

namespace watchline {
namespace {

constexpr double kLowScore = 0.1;
constexpr double kNewMargin = 0.1;  // a new track needs this much more than track_thresh
constexpr double kLowCost = 0.5, kTentativeCost = 0.7, kDuplicateCost = 0.15;

}  // namespace

void ByteTrackReference::Reset() {
  live_.clear();
  frame_ = 0;
}

std::size_t ByteTrackReference::Advance(const Frame& frame) {
  ++frame_;
  Split(frame);
  Match(frame, known_, high_, option_.match_thresh, !option_.mot20);
  const auto lost = [this](int track) { return !live_[track].tracked; };
  known_.erase(std::remove_if(known_.begin(), known_.end(), lost), known_.end());
  Match(frame, known_, low_, kLowCost, false);
  Match(frame, tentative_, high_, kTentativeCost, !option_.mot20);
  const double least = option_.track_thresh + kNewMargin;
  const auto too_low = [&frame, least](int box) { return frame[box].score < least; };
  high_.erase(std::remove_if(high_.begin(), high_.end(), too_low), high_.end());
  return high_.size();
}

// Sorts out what is to be matched with what, and moves all but tentative tracks on by a frame: those are never moved.
void ByteTrackReference::Split(const Frame& frame) {
  high_.clear();
  low_.clear();
  for (std::size_t i = 0; i < frame.size(); ++i) {
    const double score = frame[i].score;
    if (score > option_.track_thresh) high_.push_back(static_cast<int>(i));
    if (score > kLowScore && score < option_.track_thresh) low_.push_back(static_cast<int>(i));
  }
  known_.clear();
  tentative_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    Track& track = live_[i];
    if (track.tracked && !track.confirmed) {
      tentative_.push_back(static_cast<int>(i));
      continue;
    }
    known_.push_back(static_cast<int>(i));
    if (!track.tracked) track.motion.speed[3] = 0;  // an unseen object keeps its height
    DriftMotion(track.motion);
  }
}

// Gives `boxes`, rows of the frame, to `tracks`, rows of the live ones; leaves in both what is left over.
void ByteTrackReference::Match(const Frame& frame, Rows& tracks, Rows& boxes, double limit, bool fuse) {
  if (tracks.empty() || boxes.empty()) return;
  track_objects_.clear();
  box_objects_.clear();
  for (const int track : tracks) track_objects_.push_back(Outline(ToBox(live_[track].motion.place)));
  for (const int box : boxes) box_objects_.push_back(Outline(frame[box].box));
  const auto cost = [&frame, &boxes, fuse](int, int column, double iou) {
    const double apart = 1 - iou;
    return fuse ? 1 - (1 - apart) * frame[boxes[column]].score : apart;
  };
  const std::vector<int>& column_of = assignment_.Solve(track_objects_, box_objects_, limit, 1 - limit, cost);
  std::size_t left = 0;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    if (column_of[i] == kFree) {
      tracks[left++] = tracks[i];
      continue;
    }
    int& box = boxes[column_of[i]];
    Track& track = live_[tracks[i]];
    CorrectMotion(track.motion, ToXyah(frame[box].box));
    See(track, frame, box);
    track.confirmed = true;
    box = kFree;
  }
  tracks.resize(left);
  boxes.erase(std::remove(boxes.begin(), boxes.end(), kFree), boxes.end());
}

void ByteTrackReference::See(Track& track, const Frame& frame, int box) const {
  track.last_frame = frame_;
  track.score = frame[box].score;
  track.detection = box;
}

void ByteTrackReference::Begin(const Frame& frame, const std::int64_t* ids) {
  fresh_.clear();
  for (const int box : high_) {
    Track track{};
    track.id = *ids++;
    track.first_frame = frame_;
    track.confirmed = frame_ == 1;
    See(track, frame, box);
    track.motion = StartMotion(ToXyah(frame[box].box));
    fresh_.push_back(track);
  }
  SortLists(fresh_);
  DropDuplicates();
}

// Makes the two lists anew: known tracks not seen are lost now, fresh ones begin, tentative ones not seen are gone.
//
// A lost track whose time is over is condemned only after the list was cleared of the condemned, so it can be matched
// for one frame more. If it is, it lives on, but may not be lost again.
void ByteTrackReference::SortLists(std::vector<Track>& fresh) {
  sorted_.clear();
  const auto put = [this](Track& track, bool tracked) {
    sorted_.push_back(track);
    sorted_.back().tracked = tracked;
  };
  const auto found = [this](const Track& track) { return track.last_frame == frame_; };
  for (Track& track : live_) {
    if (track.tracked && found(track)) put(track, true);
  }
  for (Track& track : fresh) put(track, true);
  for (Track& track : live_) {
    if (!track.tracked && found(track)) put(track, true);
  }
  for (Track& track : live_) {
    if (track.tracked || found(track) || track.condemned) continue;
    track.condemned = frame_ - track.last_frame > option_.buffer;
    put(track, false);
  }
  for (const int row : known_) {
    if (!live_[row].condemned) put(live_[row], false);
  }
  live_.swap(sorted_);
}

// Of a tracked and a lost one that are nearly the same box the longer life stays; in a tie the lost one.
void ByteTrackReference::DropDuplicates() {
  const auto first_lost = std::find_if(live_.begin(), live_.end(), [](const Track& track) { return !track.tracked; });
  const std::size_t tracked = first_lost - live_.begin();
  if (tracked == 0 || tracked == live_.size()) return;
  track_objects_.clear();
  box_objects_.clear();
  for (std::size_t i = 0; i < live_.size(); ++i) {
    (i < tracked ? track_objects_ : box_objects_).push_back(Outline(ToBox(live_[i].motion.place)));
  }
  finder_.Find(track_objects_, box_objects_, 1 - kDuplicateCost - kMargin, overlaps_);
  const auto life = [](const Track& track) { return track.last_frame - track.first_frame; };
  std::vector<char> stays(live_.size(), 1);
  for (std::size_t i = 0; i < tracked; ++i) {
    for (int k = overlaps_.start[i]; k < overlaps_.start[i + 1]; ++k) {
      if (!(1 - overlaps_.overlap[k].iou < kDuplicateCost)) continue;
      const std::size_t other = tracked + overlaps_.overlap[k].column;
      stays[life(live_[i]) > life(live_[other]) ? other : i] = 0;
    }
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (stays[i]) live_[kept++] = live_[i];
  }
  live_.resize(kept);
}

std::size_t ByteTrackReference::Seen() const {
  return std::count_if(live_.begin(), live_.end(), [](const Track& track) { return track.tracked && track.confirmed; });
}

void ByteTrackReference::Report(const RowArrays& out) const {
  std::size_t row = 0;
  for (const Track& track : live_) {
    if (!track.tracked || !track.confirmed) continue;
    out.Put(row++, track.id, ToBox(track.motion.place), track.score, track.detection);
  }
}

std::vector<std::int64_t> ByteTrackReference::Held() const {
  std::vector<std::int64_t> ids;
  for (const Track& track : live_) ids.push_back(track.id);
  return ids;
}

// Returns what a box covers: its lower right corner names the last pixel inside. All are of one class.
Object ByteTrackReference::Outline(const Box& box) { return {{box.x1, box.y1, box.x2 + 1, box.y2 + 1}, 0}; }

}  // namespace watchline
