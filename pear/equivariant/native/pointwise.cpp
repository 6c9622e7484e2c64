// What stands between the products of a block, each in one pass over the features.
//
// Compiled on first use by pear/equivariant/compiled.py, which holds the same signatures.

#include "vector.h"

namespace {

using namespace pear;

// The argument of pear_residual_norm, in the order of compiled.py. One part, or an even and an odd.
struct Residual {
  const float *x[2];  // or null
  const void *branch[2];
  const float *weight[2], *bias;  // the odd part has no bias
  float *out[2];
  std::int64_t rows, width, parts, half, threads;
  float epsilon;
};

// Numbers beyond the width are zeros, and stay so where sums are taken.
inline Vec inside(Vec x, int n) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_maskz_mov_ps(first(n), reinterpret_cast<__m512>(x)));
#else
  for (int i = std::max(n, 0); i < LANES; ++i) x[i] = 0.0f;
  return x;
#endif
}

template <class T>
void residual_norm_row(const Residual &a, std::int64_t row) {
  const int width = static_cast<int>(a.width), parts = static_cast<int>(a.parts);
  const std::int64_t at = row * width;
  const T *branch[2] = {static_cast<const T *>(a.branch[0]) + at,
                        static_cast<const T *>(a.branch[1]) + (parts > 1 ? at : 0)};
  Vec sum = Vec{};
  for (int c = 0; c < width; c += LANES) sum += load_some(branch[0] + c, width - c);
  const float mean[2] = {total(sum) / width, 0.0f};
  Vec squares = Vec{};
  for (int p = 0; p < parts; ++p)
    for (int c = 0; c < width; c += LANES) {
      const Vec y = inside(load_some(branch[p] + c, width - c) - mean[p], width - c);
      squares += y * y;
    }
  const float scale = 1.0f / __builtin_sqrtf(total(squares) / (parts * width) + a.epsilon);
  for (int p = 0; p < parts; ++p)
    for (int c = 0; c < width; c += LANES) {
      const int n = width - c;
      const Vec y = (load_some(branch[p] + c, n) - mean[p]) * scale;
      Vec z = y * load_some(a.weight[p] + c, n);
      if (a.x[p]) z += load_some(a.x[p] + at + c, n);
      if (p == 0) z += load_some(a.bias + c, n);
      store_some(z, a.out[p] + at + c, n);
    }
}

template <class T>
void mirror_gelu(T *even, T *odd, std::int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t c = 0; c < count; c += LANES) {
    const int n = static_cast<int>(std::min<std::int64_t>(LANES, count - c));
    const Vec e = load_some(even + c, n), o = load_some(odd + c, n);
    const Vec a = gelu((e + o) * HALF_ROOT) * HALF_ROOT, b = gelu((e - o) * HALF_ROOT) * HALF_ROOT;
    store_some(a + b, even + c, n);
    store_some(a - b, odd + c, n);
  }
}

}  // namespace

// out = x + norm(branch), without an x norm(branch): the layer norm over both parts together, with
// the mean of the first.
extern "C" void pear_residual_norm(const Residual *a) {
  const int threads = static_cast<int>(a->threads);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t row = 0; row < a->rows; ++row) {
    if (a->half)
      residual_norm_row<bfloat16>(*a, row);
    else
      residual_norm_row<float>(*a, row);
  }
}

// The GELU in the a/b basis of features in the e/o basis, in place.
extern "C" void pear_mirror_gelu(void *even, void *odd, std::int64_t count, int half, int threads) {
  if (half)
    mirror_gelu(static_cast<bfloat16 *>(even), static_cast<bfloat16 *>(odd), count, threads);
  else
    mirror_gelu(static_cast<float *>(even), static_cast<float *>(odd), count, threads);
}
