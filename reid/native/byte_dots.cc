#include "byte_dots.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WATCHLINE_X86 1
#endif

namespace watchline {
namespace {

std::int32_t PlainOne(const std::uint8_t* row, const std::int8_t* query, std::size_t width) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += static_cast<std::int32_t>(row[i]) * query[i];
  return sum;
}

void PlainFour(const std::uint8_t* row, const std::int8_t* queries, std::size_t width, std::int32_t* out) {
  for (std::size_t j = 0; j < kQueriesAtOnce; ++j) out[j] = PlainOne(row, queries + j * width, width);
}

#ifdef WATCHLINE_X86
#define WATCHLINE_AVX2 __attribute__((target("avx2")))
#define WATCHLINE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

WATCHLINE_AVX2 inline __m256i Products(const std::uint8_t* row, const std::int8_t* query) {
  const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
  const __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query)));
  return _mm256_madd_epi16(a, b);
}

WATCHLINE_AVX2 inline std::int32_t Sum(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

WATCHLINE_AVX2 std::int32_t Avx2One(const std::uint8_t* row, const std::int8_t* query, std::size_t width) {
  __m256i even = _mm256_setzero_si256(), odd = _mm256_setzero_si256();
  for (std::size_t i = 0; i < width; i += 32) {
    even = _mm256_add_epi32(even, Products(row + i, query + i));
    odd = _mm256_add_epi32(odd, Products(row + i + 16, query + i + 16));
  }
  return Sum(_mm256_add_epi32(even, odd));
}

WATCHLINE_AVX2 void Avx2Four(const std::uint8_t* row, const std::int8_t* queries, std::size_t width,
                             std::int32_t* out) {
  __m256i sums[kQueriesAtOnce];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (std::size_t i = 0; i < width; i += 16) {
    for (std::size_t j = 0; j < kQueriesAtOnce; ++j) {
      sums[j] = _mm256_add_epi32(sums[j], Products(row + i, queries + j * width + i));
    }
  }
  for (std::size_t j = 0; j < kQueriesAtOnce; ++j) out[j] = Sum(sums[j]);
}

WATCHLINE_VNNI std::int32_t VnniOne(const std::uint8_t* row, const std::int8_t* query, std::size_t width) {
  __m512i sum = _mm512_setzero_si512();
  for (std::size_t i = 0; i < width; i += kByteStep) {
    sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(row + i), _mm512_loadu_si512(query + i));
  }
  return _mm512_reduce_add_epi32(sum);
}

WATCHLINE_VNNI void VnniFour(const std::uint8_t* row, const std::int8_t* queries, std::size_t width,
                             std::int32_t* out) {
  __m512i sums[kQueriesAtOnce];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t i = 0; i < width; i += kByteStep) {
    const __m512i part = _mm512_loadu_si512(row + i);
    for (std::size_t j = 0; j < kQueriesAtOnce; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], part, _mm512_loadu_si512(queries + j * width + i));
    }
  }
  for (std::size_t j = 0; j < kQueriesAtOnce; ++j) out[j] = _mm512_reduce_add_epi32(sums[j]);
}
#endif

}  // namespace

std::vector<ByteDots> UsableByteDots() {
  std::vector<ByteDots> usable;
#ifdef WATCHLINE_X86
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    usable.push_back({"avx512-vnni", VnniOne, VnniFour});
  }
  if (__builtin_cpu_supports("avx2")) usable.push_back({"avx2", Avx2One, Avx2Four});
#endif
  usable.push_back({"plain", PlainOne, PlainFour});
  return usable;
}

}  // namespace watchline
