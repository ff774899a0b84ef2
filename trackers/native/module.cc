// Bindings only: shapes, dtypes and values are checked here, the work is in the files beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "assign.h"
#include "byte_track.h"
#include "lapjv.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename Value, int dimensions>
using Given = nb::ndarray<const Value, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;

template <typename Value>
nb::object Array(Value* data, std::initializer_list<std::size_t> shape, nb::handle owner) {
  return nb::cast(nb::ndarray<nb::numpy, Value>(data, shape, owner));
}

nb::object Array(std::vector<int> values) {
  auto kept = std::make_unique<std::vector<int>>(std::move(values));
  int* data = kept->data();
  const std::size_t count = kept->size();
  nb::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<int>*>(p); });
  return Array<std::int32_t>(data, {count}, owner);
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

// The arrays of `Tracks` for `count` tracks, side by side in one block of memory.
class TrackArrays {
 public:
  explicit TrackArrays(std::size_t count) : count_(count), memory_(new double[count * 6 + 1]) {
    rows_.track_id = reinterpret_cast<std::int64_t*>(memory_.get());
    rows_.xyxy = reinterpret_cast<float*>(rows_.track_id + count);
    rows_.score = rows_.xyxy + 4 * count;
    rows_.age_s = rows_.score + count;
    rows_.class_id = reinterpret_cast<std::int32_t*>(rows_.age_s + count);
    rows_.detection = rows_.class_id + count;
    rows_.state = reinterpret_cast<std::uint8_t*>(rows_.detection + count);
  }

  const watchline::TrackRows& Rows() const { return rows_; }

  nb::tuple Release() {
    nb::capsule owner(memory_.release(), [](void* p) noexcept { delete[] static_cast<double*>(p); });
    return nb::make_tuple(Array(rows_.track_id, {count_}, owner), Array(rows_.xyxy, {count_, 4}, owner),
                          Array(rows_.score, {count_}, owner), Array(rows_.class_id, {count_}, owner),
                          Array(rows_.state, {count_}, owner), Array(rows_.age_s, {count_}, owner),
                          Array(rows_.detection, {count_}, owner));
  }

 private:
  std::size_t count_;
  std::unique_ptr<double[]> memory_;
  watchline::TrackRows rows_;
};

struct ByteTrack {
  watchline::ByteTrack tracker;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;

  explicit ByteTrack(const watchline::ByteTrackOptions& options) : tracker(options) {}

  void Reset() {
    const OneAtATime guard(busy);
    tracker.Reset();
  }

  nb::tuple Update(Boxes xyxy, Given<float, 1> score, Given<std::int32_t, 1> class_id, double time_s,
                   nb::callable take_ids) {
    const OneAtATime guard(busy);
    if (score.size() != xyxy.shape(0) || class_id.size() != xyxy.shape(0)) {
      throw std::invalid_argument("xyxy, score and class_id differ in length");
    }
    if (!std::isfinite(time_s) || time_s <= tracker.now_s()) {
      const auto text = [](double value) { return std::string(nb::repr(nb::float_(value)).c_str()); };
      throw std::invalid_argument("time_s is " + text(time_s) + ", want a number above " + text(tracker.now_s()) +
                                  ", the time of the frame before");
    }
    const watchline::DetectionRows given{xyxy.shape(0), xyxy.data(), score.data(), class_id.data()};
    std::size_t newborn;
    {
      nb::gil_scoped_release release;
      newborn = tracker.Advance(given, time_s);
    }
    if (newborn > 0) {
      const auto ids = nb::cast<std::vector<std::int64_t>>(take_ids(newborn));
      if (ids.size() != newborn) throw std::invalid_argument("take_ids gave another number of ids than asked for");
      tracker.Begin(ids.data());
    }
    TrackArrays out(tracker.Seen());
    tracker.Report(given, out.Rows());
    return out.Release();
  }
};

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

  nb::class_<ByteTrack>(m, "ByteTrack")
      .def(
          "__init__",
          [](ByteTrack* self, float high_score, float low_score, float new_score, double high_cost, double low_cost,
             double tentative_cost, bool fuse_score, double duplicate_iou, double lost_s, bool report_detection) {
            new (self) ByteTrack({high_score, low_score, new_score, high_cost, low_cost, tentative_cost, fuse_score,
                                  duplicate_iou, lost_s, report_detection});
          },
          nb::kw_only(), "high_score"_a, "low_score"_a, "new_score"_a, "high_cost"_a, "low_cost"_a, "tentative_cost"_a,
          "fuse_score"_a, "duplicate_iou"_a, "lost_s"_a, "report_detection"_a)
      .def("reset", &ByteTrack::Reset)
      .def("update", &ByteTrack::Update, "xyxy"_a, "score"_a, "class_id"_a, "time_s"_a, "take_ids"_a);
}
