// Layer norm of a row of features and what it is added to.

#pragma once

#include "vector.h"

namespace pear {

// Plain features have one part. Mirrored ones have an even and an odd part and are normalised
// together, with the mean of the even part; the odd part has no bias.
struct Norm {
  const float *weight[2], *bias;
  int width, parts;
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

// out = x + norm(branch); x may be null.
template <class T>
inline void residual_norm(const Norm &a, const float *const (&x)[2], const T *const (&branch)[2],
                          float *const (&out)[2]) {
  const int width = a.width;
  Vec sum = Vec{};
  for (int c = 0; c < width; c += LANES) sum += load_some(branch[0] + c, width - c);
  const float mean[2] = {total(sum) / width, 0.0f};
  Vec squares = Vec{};
  for (int p = 0; p < a.parts; ++p)
    for (int c = 0; c < width; c += LANES) {
      const Vec y = inside(load_some(branch[p] + c, width - c) - mean[p], width - c);
      squares += y * y;
    }
  const float scale = 1.0f / __builtin_sqrtf(total(squares) / (a.parts * width) + a.epsilon);
  for (int p = 0; p < a.parts; ++p)
    for (int c = 0; c < width; c += LANES) {
      const int n = width - c;
      const Vec y = (load_some(branch[p] + c, n) - mean[p]) * scale;
      Vec z = y * load_some(a.weight[p] + c, n);
      if (x[p]) z += load_some(x[p] + c, n);
      if (p == 0) z += load_some(a.bias + c, n);
      store_some(z, out[p] + c, n);
    }
}

}  // namespace pear
