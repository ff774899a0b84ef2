#include "pack.h"

#include <algorithm>

#include "clones.h"

namespace watchline {
namespace {

WATCHLINE_CLONES
void SplitRow(const std::uint8_t* rgb, std::size_t width, float* red, float* green, float* blue) {
  for (std::size_t x = 0; x < width; ++x) {
    red[x] = static_cast<float>(rgb[3 * x]) / 255.0f;
    green[x] = static_cast<float>(rgb[3 * x + 1]) / 255.0f;
    blue[x] = static_cast<float>(rgb[3 * x + 2]) / 255.0f;
  }
}

}  // namespace

void Pack(const std::uint8_t* pixels, std::size_t height, std::size_t width, std::size_t row_bytes, std::uint8_t pad,
          std::size_t top, std::size_t left, float* out, std::size_t out_height, std::size_t out_width) {
  const std::size_t plane = out_height * out_width;
  const std::size_t right = left + width;
  const float border = static_cast<float>(pad) / 255.0f;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    float* start = out + channel * plane;
    std::fill(start, start + top * out_width, border);
    std::fill(start + (top + height) * out_width, start + plane, border);
  }
  for (std::size_t y = 0; y < height; ++y) {
    float* row = out + (top + y) * out_width;
    for (std::size_t channel = 0; channel < 3; ++channel) {
      float* start = row + channel * plane;
      std::fill(start, start + left, border);
      std::fill(start + right, start + out_width, border);
    }
    SplitRow(pixels + y * row_bytes, width, row + left, row + plane + left, row + 2 * plane + left);
  }
}

}  // namespace watchline
