// Bindings only: shapes, dtypes and values are checked here, the work is in the files beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "byte_dots.h"
#include "top_k.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename Value, int dimensions>
using Given = nb::ndarray<const Value, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
template <typename Value>
using Filled = nb::ndarray<Value, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr std::size_t kMostWidth = 65536;

template <typename Array>
void CheckAligned(const char* name, const Array& array) {
  if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(typename Array::Scalar) != 0) {
    throw std::invalid_argument(std::string(name) + ": not aligned; pass a copy");
  }
}

void CheckRows(const char* name, std::size_t got, std::size_t want) {
  if (got != want) {
    throw std::invalid_argument(std::string(name) + ": want " + std::to_string(want) + " rows, got " +
                                std::to_string(got));
  }
}

const watchline::ByteDots& Chosen(const std::vector<watchline::ByteDots>& usable, const std::string& kernel) {
  for (const watchline::ByteDots& dots : usable) {
    if (kernel.empty() || kernel == dots.name) return dots;
  }
  throw std::invalid_argument("kernel \"" + kernel + "\": not here; kernels() names those that are");
}

nb::typed<nb::list, nb::str> Kernels() {
  nb::list names;
  for (const watchline::ByteDots& dots : watchline::UsableByteDots()) names.append(nb::str(dots.name));
  return nb::borrow<nb::typed<nb::list, nb::str>>(names);
}

void TopK(Given<float, 2> rows, Given<std::uint8_t, 2> codes, Given<float, 1> scale, Given<float, 1> rest,
          Given<std::int64_t, 1> key, Given<bool, 1> wanted, Given<float, 2> queries, Filled<float> similarity,
          Filled<std::int64_t> hit_key, const std::string& kernel) {
  const std::size_t count = rows.shape(0), width = rows.shape(1), asked = queries.shape(0), k = hit_key.shape(1);
  CheckAligned("rows", rows), CheckAligned("scale", scale), CheckAligned("rest", rest), CheckAligned("key", key);
  CheckAligned("queries", queries), CheckAligned("similarity", similarity), CheckAligned("hit_key", hit_key);
  CheckRows("codes", codes.shape(0), count), CheckRows("scale", scale.shape(0), count);
  CheckRows("rest", rest.shape(0), count), CheckRows("key", key.shape(0), count);
  if (wanted.shape(0) != 0) CheckRows("wanted", wanted.shape(0), count);
  CheckRows("similarity", similarity.shape(0), asked), CheckRows("hit_key", hit_key.shape(0), asked);
  if (width == 0 || width % watchline::kByteStep != 0 || width >= kMostWidth) {
    throw std::invalid_argument("rows: want a width that is a multiple of 64, below 65536");
  }
  if (codes.shape(1) != width || queries.shape(1) != width || similarity.shape(1) != k || k == 0) {
    throw std::invalid_argument("rows, codes and queries, or similarity and hit_key, differ in width");
  }
  const std::vector<watchline::ByteDots> usable = watchline::UsableByteDots();
  const watchline::ByteDots& dots = Chosen(usable, kernel);
  const watchline::CodedRows table{count,        width,       rows.data(), codes.data(),
                                   scale.data(), rest.data(), key.data(),  wanted.shape(0) ? wanted.data() : nullptr};
  nb::gil_scoped_release release;
  std::vector<watchline::Hit> best(asked * k);
  for (std::size_t i = 0; i < best.size(); ++i) best[i] = {similarity.data()[i], hit_key.data()[i]};
  watchline::TopK(table, queries.data(), asked, k, dots, best.data());
  for (std::size_t i = 0; i < best.size(); ++i) {
    similarity.data()[i] = best[i].similarity;
    hit_key.data()[i] = best[i].key;
  }
}

}  // namespace

NB_MODULE(_native, m) {
  m.def("kernels", &Kernels, nb::sig("def kernels() -> list[str]"),
        "Returns the names of the scalar products that this processor can run, best first; all give the same.");
  m.def("top_k", &TopK, "rows"_a.noconvert(), "codes"_a.noconvert(), "scale"_a.noconvert(), "rest"_a.noconvert(),
        "key"_a.noconvert(), "wanted"_a.noconvert(), "queries"_a.noconvert(), "similarity"_a.noconvert(),
        "hit_key"_a.noconvert(), "kernel"_a = "",
        nb::sig("def top_k(rows: NDArray[float32], codes: NDArray[uint8], scale: NDArray[float32], "
                "rest: NDArray[float32], key: NDArray[int64], wanted: NDArray[bool_], queries: NDArray[float32], "
                "similarity: NDArray[float32], hit_key: NDArray[int64], kernel: str = \"\") -> None"),
        "Replaces hits (Q, k) by better ones among the rows (N, W); an empty `wanted` means all rows.");
}
