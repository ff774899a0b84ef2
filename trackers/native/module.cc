// Bindings only: shapes, dtypes and values are checked here, the work is in the files beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "assign.h"
#include "byte_track.h"
#include "byte_track_reference.h"
#include "lapjv.h"
#include "oc_sort.h"
#include "oc_sort_reference.h"
#include "table.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename Value, int dimensions>
using Given = nb::ndarray<const Value, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Any = nb::ndarray<nb::ro, nb::device::cpu>;

template <typename Value>
nb::object Array(Value* data, std::initializer_list<std::size_t> shape, nb::handle owner) {
  return nb::cast(nb::ndarray<nb::numpy, Value>(data, shape, owner));
}

template <typename Value>
nb::object Array(std::vector<Value> values) {
  auto kept = std::make_unique<std::vector<Value>>(std::move(values));
  Value* data = kept->data();
  const std::size_t count = kept->size();
  nb::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<Value>*>(p); });
  return Array<Value>(data, {count}, owner);
}

// Assignment

void CheckProblem(const Given<double, 2>& cost, double limit) {
  if (std::isnan(limit)) throw std::invalid_argument("limit is NaN");
  for (std::size_t i = 0; i < cost.size(); ++i) {
    if (!std::isfinite(cost.data()[i])) throw std::invalid_argument("cost holds NaN or infinity");
  }
}

nb::tuple Lapjv(Given<double, 2> cost, double limit) {
  std::vector<int> column_of(cost.shape(0)), row_of(cost.shape(1));
  {
    nb::gil_scoped_release release;
    CheckProblem(cost, limit);
    watchline::Lapjv(cost.shape(0), cost.shape(1), cost.data(), limit, column_of.data(), row_of.data());
  }
  return nb::make_tuple(Array(std::move(column_of)), Array(std::move(row_of)));
}

nb::tuple AssignSparse(Given<double, 2> cost, double limit, double margin) {
  watchline::SparseAssignment solver;
  bool unique;
  {
    nb::gil_scoped_release release;
    CheckProblem(cost, limit);
    if (!std::isfinite(limit) || !(margin >= 0)) throw std::invalid_argument("limit and margin are not finite numbers");
    const int rows = static_cast<int>(cost.shape(0)), columns = static_cast<int>(cost.shape(1));
    const watchline::EdgeTable edges = watchline::EdgesUpTo(cost.shape(0), cost.shape(1), cost.data(), limit + margin);
    solver.Solve(rows, columns, edges, limit);
    unique = solver.Unique(edges, margin);
  }
  return nb::make_tuple(Array(std::move(solver.column_of)), Array(std::move(solver.row_of)), unique);
}

// Trackers

// Says so where two threads, or a tracker's own call, use one object at once.
class OneAtATime {
 public:
  explicit OneAtATime(std::atomic_flag& busy) : busy_(busy) {
    if (busy_.test_and_set()) throw std::runtime_error("a tracker belongs to one thread at a time");
  }
  ~OneAtATime() { busy_.clear(); }
  OneAtATime(const OneAtATime&) = delete;
  OneAtATime& operator=(const OneAtATime&) = delete;

 private:
  std::atomic_flag& busy_;
};

// The arrays of `Tracks` for `count` tracks, side by side in one block of memory: ids, boxes, scores and ages, classes
// and detections, states.
class TrackArrays {
 public:
  explicit TrackArrays(std::size_t count) : count_(count), memory_(new double[count * 6 + 1]) {
    rows_.track_id = reinterpret_cast<std::int64_t*>(memory_.get());
    rows_.xyxy = reinterpret_cast<float*>(rows_.track_id + count);
    rows_.score = rows_.xyxy + 4 * count;
    rows_.age_s = rows_.score + count;  // right behind: one array of two rows, as an array costs more than a row
    rows_.class_id = reinterpret_cast<std::int32_t*>(rows_.age_s + count);
    rows_.detection = rows_.class_id + count;
    rows_.state = reinterpret_cast<std::uint8_t*>(rows_.detection + count);
  }

  const watchline::TrackRows& Rows() const { return rows_; }

  nb::tuple Release() {
    nb::capsule owner(memory_.release(), [](void* p) noexcept { delete[] static_cast<double*>(p); });
    return nb::make_tuple(Array(rows_.track_id, {count_}, owner), Array(rows_.xyxy, {count_, 4}, owner),
                          Array(rows_.score, {2, count_}, owner), Array(rows_.class_id, {2, count_}, owner),
                          Array(rows_.state, {count_}, owner));
  }

 private:
  std::size_t count_;
  std::unique_ptr<double[]> memory_;
  watchline::TrackRows rows_;
};

std::vector<std::int64_t> TakeIds(const nb::callable& take_ids, std::size_t count) {
  std::vector<std::int64_t> ids;
  if (count > 0 && !nb::try_cast(take_ids(count), ids)) throw nb::type_error("take_ids gave something else than ints");
  if (ids.size() != count) throw std::invalid_argument("take_ids gave another number of ids than asked for");
  return ids;
}

// A tracker behind the `Tracker` seam.
template <typename Core>
struct Tracker {
  Core core;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;

  template <typename Options>
  explicit Tracker(const Options& options) : core(options) {}

  void Reset() {
    const OneAtATime guard(busy);
    core.Reset();
  }

  nb::tuple Update(Boxes xyxy, Given<float, 1> score, Given<std::int32_t, 1> class_id, double time_s,
                   nb::callable take_ids) {
    const OneAtATime guard(busy);
    if (score.size() != xyxy.shape(0) || class_id.size() != xyxy.shape(0)) {
      throw std::invalid_argument("xyxy, score and class_id differ in length");
    }
    if (!std::isfinite(time_s) || time_s <= core.now_s()) {
      const auto text = [](double value) { return std::string(nb::repr(nb::float_(value)).c_str()); };
      throw std::invalid_argument("time_s is " + text(time_s) + ", want a number above " + text(core.now_s()) +
                                  ", the time of the frame before");
    }
    const watchline::DetectionRows given{xyxy.shape(0), xyxy.data(), score.data(), class_id.data()};
    std::size_t newborn;
    {
      nb::gil_scoped_release release;
      newborn = core.Advance(given, time_s);
    }
    if (newborn > 0) core.Begin(TakeIds(take_ids, newborn).data());
    TrackArrays out(core.Shown());
    core.Report(given, out.Rows());
    return out.Release();
  }

  nb::tuple Save() {
    const OneAtATime guard(busy);
    const std::string rows = core.Save();
    return nb::make_tuple(core.now_s(), nb::bytes(rows.data(), rows.size()));
  }

  void Restore(double now_s, const nb::bytes& rows) {
    const OneAtATime guard(busy);
    if (!core.Restore(now_s, rows.c_str(), rows.size())) {
      throw std::invalid_argument(std::to_string(rows.size()) + " bytes are no whole rows of this tracker");
    }
  }
};

using ByteTrack = Tracker<watchline::ByteTrack>;
using OcSort = Tracker<watchline::OcSort>;

template <typename Core>
nb::class_<Tracker<Core>> BindTracker(nb::module_& m, const char* name) {
  return nb::class_<Tracker<Core>>(m, name)
      .def("reset", &Tracker<Core>::Reset)
      .def("update", &Tracker<Core>::Update, "xyxy"_a, "score"_a, "class_id"_a, "time_s"_a, "take_ids"_a)
      .def("save", &Tracker<Core>::Save)
      .def("restore", &Tracker<Core>::Restore, "now_s"_a, "rows"_a);
}

// Copies boxes and scores; says no where they are not what `Boxes` in trackers/rows.py asks for.
bool Read(const Any& xyxy, const Any& score, watchline::Frame& frame) {
  if (xyxy.dtype() != nb::dtype<double>() || xyxy.ndim() != 2 || xyxy.shape(1) != 4) return false;
  if (score.dtype() != nb::dtype<double>() || score.ndim() != 1 || score.shape(0) != xyxy.shape(0)) return false;
  constexpr double kMost = std::numeric_limits<float>::max(), kLeast = std::numeric_limits<float>::denorm_min();
  frame.clear();
  const auto step = xyxy.stride(0), next = xyxy.stride(1);
  const auto far = [](double value) { return !(std::abs(value) <= kMost); };
  for (std::size_t i = 0; i < xyxy.shape(0); ++i) {
    const double* corner = static_cast<const double*>(xyxy.data()) + static_cast<std::int64_t>(i) * step;
    const watchline::Box box{corner[0], corner[next], corner[2 * next], corner[3 * next]};
    const double its_score = static_cast<const double*>(score.data())[static_cast<std::int64_t>(i) * score.stride(0)];
    if (far(box.x1) || far(box.y1) || far(box.x2) || far(box.y2)) return false;
    if (!(box.x2 >= box.x1 && box.y2 - box.y1 >= kLeast && its_score >= 0 && its_score <= 1)) return false;
    frame.push_back({box, its_score});
  }
  return true;
}

// A tracker that counts frames; see native/stepper.h.
template <typename Core>
struct Stepper {
  Core tracker;
  watchline::Frame frame;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;

  template <typename Options>
  explicit Stepper(const Options& options) : tracker(options) {}

  void Reset() {
    const OneAtATime guard(busy);
    tracker.Reset();
  }

  nb::object Held() {
    const OneAtATime guard(busy);
    return Array(tracker.Held());
  }

  // Returns the arrays of `Rows`; None, with nothing changed, where the boxes are not good.
  nb::object Step(const Any& xyxy, const Any& score, nb::callable take_ids) {
    const OneAtATime guard(busy);
    bool good;
    std::size_t newborn = 0;
    {
      nb::gil_scoped_release release;
      good = Read(xyxy, score, frame);
      if (good) newborn = tracker.Advance(frame);
    }
    if (!good) return nb::none();
    tracker.Begin(frame, TakeIds(take_ids, newborn).data());
    return Report();
  }

 private:
  nb::tuple Report() const {
    const std::size_t count = tracker.Seen();
    std::unique_ptr<double[]> memory(new double[count * 7 + 1]);
    watchline::RowArrays rows;
    rows.xyxy = memory.get();
    rows.score = rows.xyxy + 4 * count;
    rows.track_id = reinterpret_cast<std::int64_t*>(rows.score + count);
    rows.detection = reinterpret_cast<std::int32_t*>(rows.track_id + count);
    tracker.Report(rows);
    nb::capsule owner(memory.release(), [](void* p) noexcept { delete[] static_cast<double*>(p); });
    return nb::make_tuple(Array(rows.track_id, {count}, owner), Array(rows.xyxy, {count, 4}, owner),
                          Array(rows.score, {count}, owner), Array(rows.detection, {count}, owner));
  }
};

using ByteTrackReference = Stepper<watchline::ByteTrackReference>;
using OcSortReference = Stepper<watchline::OcSortReference>;

template <typename Core>
nb::class_<Stepper<Core>> BindStepper(nb::module_& m, const char* name) {
  return nb::class_<Stepper<Core>>(m, name)
      .def("reset", &Stepper<Core>::Reset)
      .def("held", &Stepper<Core>::Held)
      .def("step", &Stepper<Core>::Step, "xyxy"_a, "score"_a, "take_ids"_a);
}

}  // namespace

NB_MODULE(_native, m) {
  m.def("lapjv", &Lapjv, "cost"_a.noconvert(), "limit"_a,
        nb::sig("def lapjv(cost: NDArray[float64], limit: float) -> tuple[NDArray[int32], NDArray[int32]]"),
        "Returns the column of every row and the row of every column, or -1: lap.lapjv's, ties included.");
  m.def("assign_sparse", &AssignSparse, "cost"_a.noconvert(), "limit"_a, "margin"_a = 0.0,
        nb::sig("def assign_sparse(cost: NDArray[float64], limit: float, margin: float = 0.0) "
                "-> tuple[NDArray[int32], NDArray[int32], bool]"),
        "Returns the column of every row and the row of every column, or -1, of least total cost, and whether every "
        "other answer is worse by more than margin.");

  BindTracker<watchline::ByteTrack>(m, "ByteTrack")
      .def(
          "__init__",
          [](ByteTrack* self, float high_score, float low_score, float new_score, double high_cost, double low_cost,
             double tentative_cost, bool fuse_score, double duplicate_iou, double lost_s, double coast_s,
             bool report_detection) {
            new (self) ByteTrack(watchline::ByteTrackOptions{high_score, low_score, new_score, high_cost, low_cost,
                                                             tentative_cost, fuse_score, duplicate_iou, lost_s, coast_s,
                                                             report_detection});
          },
          nb::kw_only(), "high_score"_a, "low_score"_a, "new_score"_a, "high_cost"_a, "low_cost"_a, "tentative_cost"_a,
          "fuse_score"_a, "duplicate_iou"_a, "lost_s"_a, "coast_s"_a, "report_detection"_a);

  BindTracker<watchline::OcSort>(m, "OcSort")
      .def(
          "__init__",
          [](OcSort* self, float det_score, float low_score, double min_iou, double low_iou, double inertia,
             double direction_s, std::int64_t confirm_hits, double lost_s, double coast_s, bool report_detection) {
            new (self) OcSort(watchline::OcSortOptions{det_score, low_score, min_iou, low_iou, inertia, direction_s,
                                                       confirm_hits, lost_s, coast_s, report_detection});
          },
          nb::kw_only(), "det_score"_a, "low_score"_a, "min_iou"_a, "low_iou"_a, "inertia"_a, "direction_s"_a,
          "confirm_hits"_a, "lost_s"_a, "coast_s"_a, "report_detection"_a);

  BindStepper<watchline::ByteTrackReference>(m, "ByteTrackReference")
      .def(
          "__init__",
          [](ByteTrackReference* self, double track_thresh, double match_thresh, std::int64_t buffer, bool mot20) {
            new (self)
                ByteTrackReference(watchline::ByteTrackReferenceOptions{track_thresh, match_thresh, buffer, mot20});
          },
          nb::kw_only(), "track_thresh"_a, "match_thresh"_a, "buffer"_a, "mot20"_a);

  BindStepper<watchline::OcSortReference>(m, "OcSortReference")
      .def(
          "__init__",
          [](OcSortReference* self, double det_thresh, std::int64_t max_age, std::int64_t min_hits,
             double iou_threshold, std::int64_t delta_t, double inertia, bool use_byte) {
            new (self) OcSortReference(watchline::OcSortReferenceOptions{det_thresh, max_age, min_hits, iou_threshold,
                                                                         delta_t, inertia, use_byte});
          },
          nb::kw_only(), "det_thresh"_a, "max_age"_a, "min_hits"_a, "iou_threshold"_a, "delta_t"_a, "inertia"_a,
          "use_byte"_a);
}
