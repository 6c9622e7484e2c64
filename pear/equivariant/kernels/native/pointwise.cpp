// The operations between the products of a block, each in one pass over the features.
//
// Called by pear/equivariant/kernels/compiled.py, which has the same signatures.

#include "norm.h"

namespace {

using namespace pear;

// The argument of pear_residual_norm, in the order of compiled.py. One part, or an even and an odd.
struct Residual {
  const float *x[2];  // or null
  const void *branch[2];
  const float *weight[2], *bias;
  float *out[2];
  std::int64_t rows, width, parts, half, threads;
  float epsilon;
};

template <class T>
void every_row(const Residual &a) {
  const int width = static_cast<int>(a.width), parts = static_cast<int>(a.parts);
  const Norm norm = {{a.weight[0], a.weight[1]}, a.bias, width, parts, a.epsilon};
#pragma omp parallel for num_threads(static_cast<int>(a.threads)) schedule(static)
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const float *x[2] = {};
    const T *branch[2] = {};
    float *out[2] = {};
    for (int p = 0; p < parts; ++p) {
      if (a.x[p]) x[p] = a.x[p] + row * width;
      branch[p] = static_cast<const T *>(a.branch[p]) + row * width;
      out[p] = a.out[p] + row * width;
    }
    residual_norm<T>(norm, x, branch, out);
  }
}

template <class T>
void every_gelu(T *even, T *odd, std::int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t c = 0; c < count; c += LANES) {
    const int n = static_cast<int>(std::min<std::int64_t>(LANES, count - c));
    Vec e = load_some(even + c, n), o = load_some(odd + c, n);
    mirror_gelu(e, o);
    store_some(e, even + c, n);
    store_some(o, odd + c, n);
  }
}

}  // namespace

// out = x + norm(branch), without an x norm(branch).
extern "C" void pear_residual_norm(const Residual *a) {
  if (a->half)
    every_row<bfloat16>(*a);
  else
    every_row<float>(*a);
}

// The GELU in the a/b basis of features in the e/o basis, in place.
extern "C" void pear_mirror_gelu(void *even, void *odd, std::int64_t count, int half, int threads) {
  if (half)
    every_gelu(static_cast<bfloat16 *>(even), static_cast<bfloat16 *>(odd), count, threads);
  else
    every_gelu(static_cast<float *>(even), static_cast<float *>(odd), count, threads);
}
