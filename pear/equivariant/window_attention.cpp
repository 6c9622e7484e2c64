// softmax(q k^T scale + bias + mask) v inside windows, one head of one window at a time.
//
// The logits of a few query rows live in registers: they are never written to memory. Everything is
// computed in single precision; bfloat16 is only how operands are stored. Compiled on first use by
// pear/equivariant/compiled.py, which holds the same signature; kernels.py holds the same function
// in torch, which is what the tests compare this one with.
//
// Plain C++17 with the vector extensions of GCC and Clang: no headers of torch, no intrinsics.

#include <algorithm>
#include <cstdint>
#include <cstring>

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

inline float total(Vec x) {
  float sum = 0;
  for (int i = 0; i < LANES; ++i) sum += x[i];
  return sum;
}

inline float largest(Vec x) {
  float best = x[0];
  for (int i = 1; i < LANES; ++i) best = std::max(best, x[i]);
  return best;
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
  alignas(64) float key[64 * 128];     // (d, slot)
  alignas(64) float value[128 * 64];   // (slot, d rounded up to lanes)
  alignas(64) float query[128 * 64];   // (slot, d), scaled
  alignas(64) float weight[8 * 128];   // (row, slot)
};

template <class T>
void pack(Workspace &w, const T *q, const T *k, const T *v, const Strides *s, int slots, int d,
          int padded, float scale) {
  for (int i = 0; i < slots; ++i) {
    const T *qi = q + i * s[0].slot, *ki = k + i * s[1].slot, *vi = v + i * s[2].slot;
    for (int c = 0; c < d; ++c) {
      w.query[i * d + c] = widen(qi[c]) * scale;
      w.key[c * slots + i] = widen(ki[c]);
      w.value[i * padded + c] = widen(vi[c]);
    }
    for (int c = d; c < padded; ++c) w.value[i * padded + c] = 0;
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
      const Vec key = load(w.key + c * SLOTS + n * LANES);
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
  for (int r = 0; r < ROWS; ++r) {
    float row[VECS * LANES];
    for (int c = 0; c < VECS; ++c) {
      const Vec scaled = sum[r][c] * inverse[r];
      std::memcpy(row + c * LANES, &scaled, sizeof scaled);
    }
    for (int c = 0; c < d; ++c) narrow(row[c], out[r * stride + c]);
  }
}

// Everything about one head in all windows that a thread gets.
template <int SLOTS, int VECS, class T>
void attend(Workspace &w, const T *q, const T *k, const T *v, const Strides *s, const float *bias,
            const float *mask, T *out, std::int64_t stride, int d, float scale) {
  constexpr int FEW = 256 / SLOTS < 8 ? 256 / SLOTS : 8;  // rows whose logits fit the registers
  constexpr int ROWS = VECS > 2 ? 4 : 8;
  float inverse[ROWS];
  pack(w, q, k, v, s, SLOTS, d, VECS * LANES, scale);
  for (int row = 0; row < SLOTS; row += ROWS) {
    for (int r = 0; r < ROWS; r += (FEW < ROWS ? FEW : ROWS)) {
      const int i = row + r;
      weigh<SLOTS, (FEW < ROWS ? FEW : ROWS)>(w, w.query + i * d, d, bias + i * SLOTS,
                                              mask ? mask + i * SLOTS : nullptr,
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

template <class T>
int run(const T *q, const T *k, const T *v, const Strides *s, const float *bias,
        const float *masks, const std::int32_t *mask_of, T *out, std::int64_t windows, int heads,
        std::int64_t slots, int d, float scale, int threads) {
  const Attend<T> attend_one = by_shape<T>(slots, d);
  if (!attend_one) return 1;
  const std::int64_t table = slots * slots;
#pragma omp parallel num_threads(threads)
  {
    Workspace w;
#pragma omp for schedule(static)
    for (std::int64_t job = 0; job < windows * heads; ++job) {
      const std::int64_t window = job / heads, head = job % heads;
      const float *mask = mask_of[window] < 0 ? nullptr : masks + mask_of[window] * table;
      attend_one(w, q + window * s[0].window + head * s[0].head,
                 k + window * s[1].window + head * s[1].head,
                 v + window * s[2].window + head * s[2].head, s, bias + head * table, mask,
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
  if (half)
    return run(static_cast<const bfloat16 *>(q), static_cast<const bfloat16 *>(k),
               static_cast<const bfloat16 *>(v), s, bias, masks, mask_of,
               static_cast<bfloat16 *>(out), windows, heads, slots, d, scale, threads);
  return run(static_cast<const float *>(q), static_cast<const float *>(k),
             static_cast<const float *>(v), s, bias, masks, mask_of, static_cast<float *>(out),
             windows, heads, slots, d, scale, threads);
}
