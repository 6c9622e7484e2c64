// Vectors of single-precision numbers, half precision, and two functions of them.
//
// Plain C++17 with the vector extensions of GCC and Clang: no headers of torch, and few intrinsics:
// of AVX512 for the exponential and of AVX512-BF16, where there is such a processor.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace pear {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr float LOG2_E = 1.44269504088896341f;
constexpr float HALF_ROOT = 0.70710678118654752f;

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef std::int32_t Ints __attribute__((vector_size(LANES * 4)));

struct bfloat16 {
  std::uint16_t bits;
};

inline float widen(float x) { return x; }
inline float widen(bfloat16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

inline void narrow(float x, float &y) { y = x; }
inline void narrow(float x, bfloat16 &y) {  // to nearest, ties to even; NaN stays NaN
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  y.bits = static_cast<std::uint16_t>(x == x ? rounded : 0x7fc0);
}

inline Vec all(float x) { return x - Vec{}; }  // exact for zeros of either sign, so free
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }  // b if one is not a number

inline Vec load(const float *p) {
  Vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(Vec x, float *p) { std::memcpy(p, &x, sizeof x); }

// The first n numbers at p, zeros after them; all if there are more.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
inline __mmask16 first(int n) { return n >= LANES ? 0xffff : (1u << n) - 1; }
inline Vec load_some(const float *p, int n) {
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(first(n), p));
}
inline Vec load_some(const bfloat16 *p, int n) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), p));
  return reinterpret_cast<Vec>(_mm512_slli_epi32(wide, 16));
}
inline void store_some(Vec x, float *p, int n) {
  _mm512_mask_storeu_ps(p, first(n), reinterpret_cast<__m512>(x));
}
#else
template <class T>
inline Vec load_some(const T *p, int n) {
  float x[LANES] = {};
  if (n >= LANES)
    for (int i = 0; i < LANES; ++i) x[i] = widen(p[i]);
  else
    for (int i = 0; i < n; ++i) x[i] = widen(p[i]);
  return load(x);
}
inline void store_some(Vec x, float *p, int n) {
  float y[LANES];
  store(x, y);
  std::memcpy(p, y, sizeof(float) * std::min(n, LANES));
}
#endif
inline void store_some(Vec x, bfloat16 *p, int n) {
#if defined(__AVX512BF16__)
  const auto half = (__m256i)_mm512_cvtneps_pbh(reinterpret_cast<__m512>(x));
  _mm256_mask_storeu_epi16(p, first(n), half);
#else
  float y[LANES];
  store(x, y);
  for (int i = 0; i < std::min(n, LANES); ++i) narrow(y[i], p[i]);
#endif
}

inline float total(Vec x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(reinterpret_cast<__m512>(x));
#else
  float y[LANES];
  store(x, y);
  for (int n = LANES / 2; n; n /= 2)
    for (int i = 0; i < n; ++i) y[i] += y[i + n];
  return y[0];
#endif
}

// 2^x for x up to 127; what is not a number stays so. The polynomials are minimax fits of 2^f with
// |f| <= 1/2 and value 1 at 0, of relative error 9e-8 and, for half precision, 1e-4.
template <bool PRECISE = true>
inline Vec power_of_two(Vec x) {
#if defined(__AVX512F__)
  x = larger(all(-200.0f), x);  // underflows to zero
  const __m512 n = _mm512_roundscale_ps(reinterpret_cast<__m512>(x), 8);
  const Vec f = x - reinterpret_cast<Vec>(n);
#else
  const Vec shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec given = x;
  x = larger(all(-126.0f), x);
  const Vec t = x + shift;
  const Vec f = x - (t - shift);
#endif
  Vec p;
  if (PRECISE) {
    p = all(0x1.5bba14p-10f) * f + 0x1.3cea88p-7f;
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
  } else {
    p = all(0x1.c2a216p-5f) * f + 0x1.f00c4cp-3f;
    p = p * f + 0x1.62f5fap-1f;
  }
  p = p * f + 1.0f;
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_scalef_ps(reinterpret_cast<__m512>(p), n));
#else
  // By adding n to the exponent; the low bits of t hold it.
  Ints bits, power, zero;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&power, &t, sizeof power);
  std::memcpy(&zero, &shift, sizeof zero);
  bits += (power - zero) << 23;
  std::memcpy(&p, &bits, sizeof p);
  return given == given ? p : given;
#endif
}

#if defined(__AVX512F__)
// Phi(-u), the upper tail of the normal distribution, in sixteen pieces of degree four: the
// interpolation at the Chebyshev nodes of each, of error 9e-8 and zero beyond the last.
struct Tail {
  static constexpr float PIECE = 0.34f;
  alignas(64) float c[5][16];
  Tail() {
    for (int piece = 0; piece < 16; ++piece) {
      double node[5], d[5], poly[5] = {};
      for (int i = 0; i < 5; ++i) {
        node[i] = 0.5 + 0.5 * std::cos((2 * i + 1) * 0.31415926535897932);
        d[i] = 0.5 * std::erfc((piece + node[i]) * double(PIECE) * 0.70710678118654752);
      }
      for (int order = 1; order < 5; ++order)  // Newton's divided differences
        for (int i = 4; i >= order; --i) d[i] = (d[i] - d[i - 1]) / (node[i] - node[i - order]);
      for (int i = 4; i >= 0; --i) {  // as powers of t: poly = poly (t - node) + d
        for (int k = 4; k > 0; --k) poly[k] = poly[k - 1] - node[i] * poly[k];
        poly[0] = d[i] - node[i] * poly[0];
      }
      for (int k = 0; k < 5; ++k) c[k][piece] = static_cast<float>(poly[k]);
    }
  }
  Vec operator()(Vec u) const {
    const __m512 y = reinterpret_cast<__m512>(u * (1.0f / PIECE));
    const __m512i piece = _mm512_cvttps_epi32(_mm512_min_ps(y, _mm512_set1_ps(15.0f)));
    const Vec t = reinterpret_cast<Vec>(_mm512_sub_ps(y, _mm512_cvtepi32_ps(piece)));
    const auto at = [&](int k) {
      return reinterpret_cast<Vec>(_mm512_permutexvar_ps(piece, _mm512_load_ps(c[k])));
    };
    const Vec p = (((at(4) * t + at(3)) * t + at(2)) * t + at(1)) * t + at(0);
    const __mmask16 in = _mm512_cmp_ps_mask(y, _mm512_set1_ps(16.0f), _CMP_LT_OQ);
    return reinterpret_cast<Vec>(_mm512_maskz_mov_ps(in, reinterpret_cast<__m512>(p)));
  }
};
inline const Tail TAIL;
#endif

// x Phi(x) = max(x, 0) - |x| Phi(-|x|). Without AVX512 erf is formula 7.1.26 of Abramowitz and
// Stegun, of error 1.5e-7.
inline Vec gelu(Vec x) {
#if defined(__AVX512F__)
  const Vec size = reinterpret_cast<Vec>(_mm512_abs_ps(reinterpret_cast<__m512>(x)));
  return larger(x, Vec{}) - size * TAIL(size);
#else
  const Vec y = x * HALF_ROOT, size = y < 0.0f ? -y : y;
  const Vec t = 1.0f / (size * 0.3275911f + 1.0f);
  Vec p = all(1.061405429f) * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Vec tail = p * t * power_of_two(size * size * -LOG2_E) * 0.5f;  // (1 - erf |y|) / 2
  return x * (x < 0.0f ? tail : 1.0f - tail);
#endif
}

// The GELU of a = (e + o)/sqrt 2 and b = (e - o)/sqrt 2, back as e and o.
inline void mirror_gelu(Vec &e, Vec &o) {
  const Vec a = gelu((e + o) * HALF_ROOT) * HALF_ROOT, b = gelu((e - o) * HALF_ROOT) * HALF_ROOT;
  e = a + b;
  o = a - b;
}

// Lanes that a round of `transpose` takes: those of the second operand count on from LANES.
struct Round {
  std::int32_t low[LANES], high[LANES];
  constexpr explicit Round(int step) : low{}, high{} {
    for (int l = 0; l < LANES; ++l) {
      low[l] = l & step ? LANES + l - step : l;
      high[l] = l & step ? LANES + l : l + step;
    }
  }
};
constexpr Round ROUNDS[] = {Round(1), Round(2), Round(4), Round(8)};

// Rows and columns of a square exchanged, in log2(LANES) rounds of shuffles.
inline void transpose(Vec (&row)[LANES]) {
#if defined(__clang__)
  float square[LANES][LANES];
  for (int r = 0; r < LANES; ++r)
    for (int c = 0; c < LANES; ++c) square[c][r] = row[r][c];
  for (int r = 0; r < LANES; ++r) row[r] = load(square[r]);
#else
#pragma GCC unroll 4
  for (int round = 0; 1 << round < LANES; ++round) {
    const int step = 1 << round;
    Ints low, high;
    std::memcpy(&low, ROUNDS[round].low, sizeof low);
    std::memcpy(&high, ROUNDS[round].high, sizeof high);
#pragma GCC unroll 16
    for (int r = 0; r < LANES; ++r)
      if (!(r & step)) {
        const Vec first = row[r], second = row[r + step];
        row[r] = __builtin_shuffle(first, second, low);
        row[r + step] = __builtin_shuffle(first, second, high);
      }
  }
#endif
}

}  // namespace pear
