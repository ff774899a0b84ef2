// Scalar products of bytes: exact integers, so that every processor gives the same, however wide its registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace watchline {

// Rows of bytes are this long, or a multiple of it: what is missing is padded by zeros of the query.
constexpr std::size_t kByteStep = 64;
constexpr std::size_t kQueriesAtOnce = 4;

// out[j] = sum of row[i] * query[j][i] over i < width, for one query or for kQueriesAtOnce of them, which lie one
// behind the other, `width` bytes each. `width` is a multiple of kByteStep, and below 65536: no sum overflows.
struct ByteDots {
  const char* name;
  std::int32_t (*one)(const std::uint8_t* row, const std::int8_t* query, std::size_t width);
  void (*four)(const std::uint8_t* row, const std::int8_t* queries, std::size_t width, std::int32_t* out);
};

// Those that this processor can run, best first; the last is plain C++.
std::vector<ByteDots> UsableByteDots();

}  // namespace watchline
