// The k most similar rows to each query, exactly, most of them ruled out by a byte for each number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "byte_dots.h"

namespace watchline {

// Rows of unit length, and what rules them out: row i is scale[i] * (codes[i] - 128) + a rest of length rest[i] or
// less.
struct CodedRows {
  std::size_t count;
  std::size_t width;  // of a row and of its code: a multiple of kByteStep, zeros behind the vector
  const float* rows;
  const std::uint8_t* codes;
  const float* scale;
  const float* rest;
  const std::int64_t* key;
  const bool* wanted;  // nullptr: all of them
};

struct Hit {
  float similarity;
  std::int64_t key;
};

// More similar first; of equals the smaller key.
inline bool Better(const Hit& a, const Hit& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.key < b.key;
}

// Replaces hits by better ones. `best` holds k > 0 hits for each of `count` queries, best first, those that are none
// yet with the similarity -infinity; `queries` are of length 1, `width` numbers each.
//
// A similarity is the scalar product in double precision, added up in 32 lanes, then rounded to float.
//
// Exact, because of this bound. For a row x = s c + r and a query q = t u + e, with c and u whole numbers,
//   q.x = t s (u.c) + t u.r + e.x <= t s (u.c) + |t u| |r| + |e| |x|        (Cauchy-Schwarz, twice)
// A row for which that is below the k-th best similarity so far can be none of the k best; the others are computed.
// u.c is an exact integer, so the choice of `dots` changes the time alone.
// Twin: top_k_numpy in reid/top_k.py, equal to the last bit.
void TopK(const CodedRows& table, const float* queries, std::size_t count, std::size_t k, const ByteDots& dots,
          Hit* best);

}  // namespace watchline
