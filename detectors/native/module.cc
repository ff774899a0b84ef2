// Bindings only: shapes, dtypes and values are checked here, the work is in the files beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "decode.h"
#include "nms.h"
#include "pack.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Planes = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::device::cpu>;
template <typename Value, int dimensions>
using Given = nb::ndarray<const Value, nb::ndim<dimensions>, nb::device::cpu>;

// Arrays are read where they lie, whatever their strides, so their numbers must lie as numbers of C++ do.
template <typename Array>
void CheckAligned(const char* name, const Array& array) {
  if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(typename Array::Scalar) != 0) {
    throw std::invalid_argument(std::string(name) + ": not aligned; pass a copy");
  }
}

template <typename Value>
nb::object Array(std::vector<Value> values) {
  auto kept = std::make_unique<std::vector<Value>>(std::move(values));
  Value* data = kept->data();
  const std::size_t count = kept->size();
  nb::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<Value>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, Value>(data, {count}, owner));
}

void PackArrays(Pixels pixels, Planes out, std::uint8_t pad, std::size_t top, std::size_t left) {
  const std::size_t height = pixels.shape(0), width = pixels.shape(1);
  if (width > 0 && height > 0 && (pixels.stride(2) != 1 || pixels.stride(1) != 3 || pixels.stride(0) < 0)) {
    throw std::invalid_argument("pixels: want rows of packed RGB triplets");
  }
  if (height > out.shape(1) || top > out.shape(1) - height || width > out.shape(2) || left > out.shape(2) - width) {
    throw std::invalid_argument("pixels: the picture does not fit into out at (top, left)");
  }
  const std::uint8_t* from = pixels.data();
  float* to = out.data();
  const std::size_t row_bytes = height > 0 ? static_cast<std::size_t>(pixels.stride(0)) : 0;
  nb::gil_scoped_release release;
  watchline::Pack(from, height, width, row_bytes, pad, top, left, to, out.shape(1), out.shape(2));
}

nb::tuple BestClasses(Given<float, 2> scores, double least_score) {
  CheckAligned("scores", scores);
  if (scores.shape(0) == 0 || scores.shape(0) > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("scores: want (classes, anchors) with at least one class");
  }
  const watchline::Scores table{scores.data(), scores.shape(0), scores.shape(1), scores.stride(0), scores.stride(1)};
  watchline::Candidates found;
  {
    nb::gil_scoped_release release;
    found = watchline::BestClasses(table, static_cast<float>(least_score));
  }
  return nb::make_tuple(Array(std::move(found.anchor)), Array(std::move(found.score)),
                        Array(std::move(found.class_id)));
}

nb::object Nms(Boxes xyxy, Given<float, 1> score, Given<std::int32_t, 1> class_id, double iou, std::int64_t limit,
               bool agnostic) {
  CheckAligned("xyxy", xyxy);
  CheckAligned("score", score);
  CheckAligned("class_id", class_id);
  const std::size_t count = xyxy.shape(0);
  if (score.shape(0) != count || class_id.shape(0) != count) {
    throw std::invalid_argument("xyxy, score and class_id differ in length");
  }
  if (count > std::numeric_limits<std::uint32_t>::max())
    throw std::invalid_argument("xyxy: want fewer than 2^32 boxes");
  if (!(iou >= 0 && iou <= 1)) {
    throw std::invalid_argument(std::string("iou ") + nb::repr(nb::float_(iou)).c_str() +
                                ": want a number from 0 to 1");
  }
  const auto corner = [&](std::size_t k) {
    return watchline::Column<float>{xyxy.data() + static_cast<std::int64_t>(k) * xyxy.stride(1), xyxy.stride(0)};
  };
  const watchline::Column<std::int32_t> classes{class_id.data(), class_id.stride(0)};
  const watchline::ScoredBoxes boxes{count,
                                     corner(0),
                                     corner(1),
                                     corner(2),
                                     corner(3),
                                     {score.data(), score.stride(0)},
                                     agnostic ? nullptr : &classes};
  std::vector<std::int64_t> rows;
  {
    nb::gil_scoped_release release;
    rows = watchline::Nms(boxes, static_cast<float>(iou), static_cast<std::size_t>(limit > 0 ? limit : 0));
  }
  return Array(std::move(rows));
}

}  // namespace

NB_MODULE(_native, m) {
  m.def("pack", &PackArrays, "pixels"_a.noconvert(), "out"_a.noconvert(), "pad"_a, "top"_a, "left"_a,
        nb::sig("def pack(pixels: NDArray[uint8], out: NDArray[float32], pad: int, top: int, left: int) -> None"),
        "Fills out (3, H, W) float32 with pixels (h, w, 3) uint8 / 255 at (top, left), pad / 255 around it.");
  m.def("best_classes", &BestClasses, "scores"_a.noconvert(), "least_score"_a,
        nb::sig("def best_classes(scores: NDArray[float32], least_score: float) -> "
                "tuple[NDArray[int64], NDArray[float32], NDArray[int32]]"),
        "Returns anchors, scores and classes where the best of scores (classes, anchors) reaches least_score.");
  m.def("nms", &Nms, "xyxy"_a.noconvert(), "score"_a.noconvert(), "class_id"_a.noconvert(), "iou"_a, "limit"_a = 300,
        "agnostic"_a = false,
        nb::sig("def nms(xyxy: NDArray[float32], score: NDArray[float32], class_id: NDArray[int32], iou: float, "
                "limit: int = 300, agnostic: bool = False) -> NDArray[int64]"),
        "Returns the rows of xyxy (N, 4) to keep, best score first; classes are rivals only if agnostic.");
}
