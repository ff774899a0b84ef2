// Bindings only: shapes and dtypes are checked here, the work is in the files beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "pack.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Planes = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;

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

}  // namespace

NB_MODULE(_native, m) {
  m.def("pack", &PackArrays, "pixels"_a.noconvert(), "out"_a.noconvert(), "pad"_a, "top"_a, "left"_a,
        nb::sig("def pack(pixels: NDArray[uint8], out: NDArray[float32], pad: int, top: int, left: int) -> None"),
        "Fills out (3, H, W) float32 with pixels (h, w, 3) uint8 / 255 at (top, left), pad / 255 around it.");
}
