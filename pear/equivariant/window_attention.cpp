// softmax(q k^T scale + bias + mask) v inside windows, one head of one window at a time.
//
// The logits of a few query rows live in registers: they are never written to memory. Everything is
// computed in single precision; bfloat16 is only how operands are stored. Compiled on first use by
// pear/equivariant/compiled.py, which holds the same signature; kernels.py holds the same function
// in torch, which is what the tests compare this one with.
//
// Plain C++17 with the vector extensions of GCC and Clang: no headers of torch, and no intrinsics
// but those of AVX512-BF16, where there is such a processor.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef std::int32_t Ints __attribute__((vector_size(LANES * 4)));

struct bfloat16 {
  std::uint16_t bits;
};

inline float widen(float x) { return x; }
inline float widen(bfloat16 x) {
  std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}
inline void narrow(float x, float &y) { y = x; }
inline void narrow(float x, bfloat16 &y) {  // to nearest, ties to even; NaN stays NaN
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) {
    y.bits = 0x7fc0;
    return;
  }
  y.bits = static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline Vec all(float x) { return Vec{} + x; }

inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// e^x for x <= 0 within 2 units in the last place (Cephes' polynomial): x = n ln 2 + r.
inline Vec exponential(Vec x) {
  const Vec shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec given = x;
  x = larger(x, all(-87.0f));
  Vec t = x * 1.44269504088896341f + shift;
  Vec n = t - shift;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n by adding n to the exponent; the low bits of t hold n.
  Ints bits, power, zero;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&power, &t, sizeof power);
  std::memcpy(&zero, &shift, sizeof zero);
  bits += (power - zero) << 23;
  std::memcpy(&p, &bits, sizeof p);
  return given == given ? p : given;  // what is not a number stays so
}

// Across the lanes, by halves: a plain loop over sixteen of them would wait for each addition.
template <class Fold>
inline float across(Vec x, Fold fold) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight half[2];
  std::memcpy(half, &x, sizeof x);
  const Eight eight = fold(half[0], half[1]);
  Four quarter[2];
  std::memcpy(quarter, &eight, sizeof eight);
  const Four four = fold(quarter[0], quarter[1]);
  return fold(fold(four[0], four[1]), fold(four[2], four[3]));
}

inline float total(Vec x) {
  return across(x, [](auto a, auto b) { return a + b; });
}

inline float largest(Vec x) {
  return across(x, [](auto a, auto b) { return a > b ? a : b; });
}

inline Vec load(const float *p) {
  Vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

struct Strides {
  std::int64_t window, head, slot;
};

struct Workspace {  // of one thread
  alignas(64) float key[64 * 144];    // (d, slot), scaled; rows a line apart, out of one cache set
  alignas(64) float value[128 * 64];  // (slot, d rounded up to lanes)
  alignas(64) float query[128 * 64];  // (slot, d)
  alignas(64) float weight[8 * 128];  // (row, slot)
};

// A row of features in single precision; eight at a time is what compilers turn into vectors.
template <class T>
inline void copy(const T *from, float *to, int d) {
  int c = 0;
  for (; c + 8 <= d; c += 8)
    for (int e = 0; e < 8; ++e) to[c + e] = widen(from[c + e]);
  for (; c < d; ++c) to[c] = widen(from[c]);
}

template <class T>
void pack(Workspace &w, const T *q, const T *k, const T *v, const Strides *s, int slots, int d,
          int padded, float scale) {
  std::memset(w.value, 0, sizeof(float) * slots * padded);
  for (int i = 0; i < slots; ++i) {
    copy(q + i * s[0].slot, w.query + i * d, d);
    copy(v + i * s[2].slot, w.value + i * padded, d);
    const T *key = k + i * s[1].slot;
    float *to = w.key + i;
    for (int c = 0; c < d; ++c) to[c * (slots + LANES)] = widen(key[c]) * scale;
  }
}

// Weights of ROWS queries, unnormalised, and one over their sums.
template <int SLOTS, int ROWS>
inline void weigh(const Workspace &w, const float *query, int d, const float *bias,
                  const float *mask, float *weight, float *inverse) {
  constexpr int N = SLOTS / LANES;
  Vec logit[ROWS][N];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      logit[r][n] = load(bias + r * SLOTS + n * LANES);
      if (mask) logit[r][n] += load(mask + r * SLOTS + n * LANES);
    }
  for (int c = 0; c < d; ++c)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Vec key = load(w.key + c * (SLOTS + LANES) + n * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) logit[r][n] += key * query[r * d + c];
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    Vec top = logit[r][0];
#pragma GCC unroll 8
    for (int n = 1; n < N; ++n) top = larger(top, logit[r][n]);
    const Vec peak = all(largest(top));
    Vec sum = Vec{};
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Vec e = exponential(logit[r][n] - peak);
      sum += e;
      std::memcpy(weight + r * SLOTS + n * LANES, &e, sizeof e);
    }
    inverse[r] = 1.0f / total(sum);
  }
}

// Write one query's sums, divided by that of its weights.
template <int VECS, class T>
inline void finish(const Vec *sum, float inverse, T *out, int d) {
  float row[VECS * LANES];
  for (int c = 0; c < VECS; ++c) {
    const Vec scaled = sum[c] * inverse;
    std::memcpy(row + c * LANES, &scaled, sizeof scaled);
  }
  for (int c = 0; c < d; ++c) narrow(row[c], out[c]);
}

// Weighted sums of the values for ROWS queries.
template <int SLOTS, int ROWS, int VECS, class T>
inline void mix(const Workspace &w, const float *weight, const float *inverse, T *out,
                std::int64_t stride, int d) {
  Vec sum[ROWS][VECS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < VECS; ++c) sum[r][c] = Vec{};
  for (int j = 0; j < SLOTS; ++j)
#pragma GCC unroll 8
    for (int c = 0; c < VECS; ++c) {
      const Vec value = load(w.value + (j * VECS + c) * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) sum[r][c] += value * weight[r * SLOTS + j];
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) finish<VECS>(sum[r], inverse[r], out + r * stride, d);
}

#if defined(__AVX512BF16__)
// The same in half precision where the processor multiplies pairs of it: products are exact and
// summed in single precision; only the weights are rounded. Features (of q and k) or slots (of
// weights and v) stand in pairs.
typedef std::int32_t Pairs __attribute__((vector_size(LANES * 4)));

inline Vec dot(Vec sum, Pairs a, std::int32_t b) {
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                (__m512bh)a, (__m512bh)_mm512_set1_epi32(b)));
}

inline std::int32_t pair(const bfloat16 *x) {
  std::int32_t two;
  std::memcpy(&two, x, sizeof two);
  return two;
}

inline Pairs load_pairs(const void *p) {
  Pairs x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

struct PairSpace {  // of one thread
  alignas(64) std::int32_t key[32 * 128];    // (slot / lanes, d / 2, lane)
  alignas(64) std::int32_t value[64 * 64];   // (slot / 2, d rounded up to lanes)
  alignas(64) bfloat16 weight[8 * 128];      // (row, slot)
};

inline void pack(PairSpace &w, const bfloat16 *k, const bfloat16 *v, const Strides *s, int slots,
                 int d, int padded) {
  std::memset(w.value, 0, sizeof(std::int32_t) * slots / 2 * padded);
  for (int i = 0; i < slots; ++i) {
    std::int32_t *to = w.key + i / LANES * (d / 2) * LANES + i % LANES;
    for (int c = 0; c < d / 2; ++c) to[c * LANES] = pair(k + i * s[1].slot + 2 * c);
  }
  for (int i = 0; i < slots; i += 2) {
    const bfloat16 *low = v + i * s[2].slot, *high = low + s[2].slot;
    std::int32_t *to = w.value + i / 2 * padded;
    for (int c = 0; c < d; ++c)
      to[c] = static_cast<std::int32_t>(low[c].bits |
                                        static_cast<std::uint32_t>(high[c].bits) << 16);
  }
}

template <int SLOTS, int ROWS>
inline void weigh(const PairSpace &w, const bfloat16 *query, std::int64_t stride, int d,
                  float scale, const float *bias, const float *mask, bfloat16 *weight,
                  float *inverse) {
  constexpr int N = SLOTS / LANES;
  Vec logit[ROWS][N];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) logit[r][n] = Vec{};
  for (int c = 0; c < d / 2; ++c)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Pairs key = load_pairs(w.key + (n * (d / 2) + c) * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        logit[r][n] = dot(logit[r][n], key, pair(query + r * stride + 2 * c));
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    Vec top = all(-__builtin_inff());
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      logit[r][n] = logit[r][n] * scale + load(bias + r * SLOTS + n * LANES);
      if (mask) logit[r][n] += load(mask + r * SLOTS + n * LANES);
      top = larger(top, logit[r][n]);
    }
    const Vec peak = all(largest(top));
    Vec sum = Vec{};
#pragma GCC unroll 8
    for (int n = 0; n < N; n += 2) {
      const Vec low = exponential(logit[r][n] - peak), high = exponential(logit[r][n + 1] - peak);
      sum += low + high;
      const auto both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high),
                                            reinterpret_cast<__m512>(low));
      std::memcpy(weight + r * SLOTS + n * LANES, &both, sizeof both);
    }
    inverse[r] = 1.0f / total(sum);
  }
}

template <int SLOTS, int ROWS, int VECS>
inline void mix(const PairSpace &w, const float *inverse, bfloat16 *out, std::int64_t stride,
                int d) {
  Vec sum[ROWS][VECS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < VECS; ++c) sum[r][c] = Vec{};
  for (int j = 0; j < SLOTS / 2; ++j)
#pragma GCC unroll 8
    for (int c = 0; c < VECS; ++c) {
      const Pairs value = load_pairs(w.value + (j * VECS + c) * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        sum[r][c] = dot(sum[r][c], value, pair(w.weight + r * SLOTS + 2 * j));
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) finish<VECS>(sum[r], inverse[r], out + r * stride, d);
}

template <int SLOTS, int VECS>
void attend_pairs(PairSpace &w, const bfloat16 *q, const bfloat16 *k, const bfloat16 *v,
                  const Strides *s, const float *bias, const float *mask, bfloat16 *out,
                  std::int64_t stride, int d, float scale) {
  constexpr int ROWS = VECS > 2 ? 4 : 8;
  constexpr int FEW = std::min(256 / SLOTS, ROWS);
  float inverse[ROWS];
  pack(w, k, v, s, SLOTS, d, VECS * LANES);
  for (int row = 0; row < SLOTS; row += ROWS) {
    for (int r = 0; r < ROWS; r += FEW) {
      const int i = row + r;
      weigh<SLOTS, FEW>(w, q + i * s[0].slot, s[0].slot, d, scale, bias + i * SLOTS,
                        mask ? mask + i * SLOTS : nullptr, w.weight + r * SLOTS, inverse + r);
    }
    mix<SLOTS, ROWS, VECS>(w, inverse, out + row * stride, stride, d);
  }
}
#endif

// Everything about one head in all windows that a thread gets.
template <int SLOTS, int VECS, class T>
void attend(Workspace &w, const T *q, const T *k, const T *v, const Strides *s, const float *bias,
            const float *mask, T *out, std::int64_t stride, int d, float scale) {
  constexpr int ROWS = VECS > 2 ? 4 : 8;                // rows whose sums fit the registers
  constexpr int FEW = std::min(256 / SLOTS, ROWS);      // rows whose logits do
  float inverse[ROWS];
#if defined(__AVX512BF16__)
  if constexpr (std::is_same<T, bfloat16>::value && SLOTS > LANES)
    if (d % 2 == 0) {
      PairSpace space;
      attend_pairs<SLOTS, VECS>(space, q, k, v, s, bias, mask, out, stride, d, scale);
      return;
    }
#endif
  pack(w, q, k, v, s, SLOTS, d, VECS * LANES, scale);
  for (int row = 0; row < SLOTS; row += ROWS) {
    for (int r = 0; r < ROWS; r += FEW) {
      const int i = row + r;
      weigh<SLOTS, FEW>(w, w.query + i * d, d, bias + i * SLOTS, mask ? mask + i * SLOTS : nullptr,
                        w.weight + r * SLOTS, inverse + r);
    }
    mix<SLOTS, ROWS, VECS>(w, w.weight, inverse, out + row * stride, stride, d);
  }
}

template <class T>
using Attend = void (*)(Workspace &, const T *, const T *, const T *, const Strides *,
                        const float *, const float *, T *, std::int64_t, int, float);

template <class T, int SLOTS>
Attend<T> by_width(int d) {
  switch ((d + LANES - 1) / LANES) {
    case 1: return attend<SLOTS, 1, T>;
    case 2: return attend<SLOTS, 2, T>;
    case 3: return attend<SLOTS, 3, T>;
    case 4: return attend<SLOTS, 4, T>;
    default: return nullptr;
  }
}

template <class T>
Attend<T> by_shape(std::int64_t slots, int d) {
  switch (slots) {
    case 16: return by_width<T, 16>(d);
    case 32: return by_width<T, 32>(d);
    case 64: return by_width<T, 64>(d);
    case 128: return by_width<T, 128>(d);
    default: return nullptr;
  }
}

// Ask for the rows of a head and window that comes next.
template <class T>
inline void prefetch(const T *x, std::int64_t stride, std::int64_t slots, int d) {
  for (std::int64_t i = 0; i < slots; ++i) {
    __builtin_prefetch(x + i * stride, 0, 2);
    __builtin_prefetch(x + i * stride + d - 1, 0, 2);
  }
}

template <class T>
int run(const T *const operand[3], const Strides *s, const float *bias, const float *masks,
        const std::int32_t *mask_of, T *out, std::int64_t windows, int heads, std::int64_t slots,
        int d, float scale, int threads) {
  const Attend<T> attend_one = by_shape<T>(slots, d);
  if (!attend_one) return 1;
  const std::int64_t table = slots * slots, jobs = windows * heads;
#pragma omp parallel num_threads(threads)
  {
    Workspace w;
#pragma omp for schedule(static)
    for (std::int64_t job = 0; job < jobs; ++job) {
      const std::int64_t window = job / heads, head = job % heads;
      const std::int64_t next = std::min(job + 1, jobs - 1);
      const T *x[3];
      for (int n = 0; n < 3; ++n) {
        x[n] = operand[n] + window * s[n].window + head * s[n].head;
        prefetch(operand[n] + next / heads * s[n].window + next % heads * s[n].head, s[n].slot,
                 slots, d);
      }
      const float *mask = mask_of[window] < 0 ? nullptr : masks + mask_of[window] * table;
      attend_one(w, x[0], x[1], x[2], s, bias + head * table, mask,
                 out + (window * slots * heads + head) * d, heads * d, d, scale);
    }
  }
  return 0;
}

}  // namespace

// q, k, v: strides (window, head, slot) in elements, three after each other; features contiguous.
// out: (window, slot, head, d), contiguous. mask_of: number of each window's mask, or -1.
// Returns 0, or 1 if there is no kernel for this shape.
extern "C" int pear_window_attention(int half, const void *q, const void *k, const void *v,
                                     const std::int64_t *strides, const float *bias,
                                     const float *masks, const std::int32_t *mask_of, void *out,
                                     std::int64_t windows, int heads, std::int64_t slots, int d,
                                     float scale, int threads) {
  const Strides *s = reinterpret_cast<const Strides *>(strides);
  if (half) {
    const bfloat16 *x[3] = {static_cast<const bfloat16 *>(q), static_cast<const bfloat16 *>(k),
                            static_cast<const bfloat16 *>(v)};
    return run(x, s, bias, masks, mask_of, static_cast<bfloat16 *>(out), windows, heads, slots, d,
               scale, threads);
  }
  const float *x[3] = {static_cast<const float *>(q), static_cast<const float *>(k),
                       static_cast<const float *>(v)};
  return run(x, s, bias, masks, mask_of, static_cast<float *>(out), windows, heads, slots, d, scale,
             threads);
}
