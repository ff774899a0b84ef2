// Packs a resized picture into a network's input: HWC bytes to padded, scaled CHW floats.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watchline {

// Writes `3 x out_height x out_width` floats to `out`, plane by plane.
//
// `pixels` holds `height` rows of `width` RGB triplets; a row starts `row_bytes` after the one before it.
// The picture lands with its top left corner at (`top`, `left`), which must leave room for all of it; every
// other value becomes `pad / 255`. A byte b becomes exactly the float b / 255 (division, not a product with 1/255),
// which is what the original programs feed to their networks.
//
// Both buffers stay the caller's; they must not overlap.
// Twin: pack_numpy in detectors/letterbox.py, equal to the last bit.
void Pack(const std::uint8_t* pixels, std::size_t height, std::size_t width, std::size_t row_bytes, std::uint8_t pad,
          std::size_t top, std::size_t left, float* out, std::size_t out_height, std::size_t out_width);

}  // namespace watchline
