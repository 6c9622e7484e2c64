// x + norm(MLP(x)) of mirrored features, some rows at a time.
//
// The GELU stands in another basis than the products before and after it, so no library takes it
// along with one of them; here the hidden features of some rows never leave the second-level cache.
//
// Compiled on first use by pear/equivariant/compiled.py, which holds the same signature.

#include <vector>

#include "norm.h"

namespace {

using namespace pear;

#if defined(__AVX512F__)
constexpr int REGISTERS = 24;  // for sums, of 32
#else
constexpr int REGISTERS = 12;  // of 16
#endif
constexpr int TILE = 48;  // rows; a multiple of any number of rows that are summed at a time

// Weights of one part: panels of as many outputs as `wide` vectors hold, each (input, output).
struct Weights {
  const float *panels, *bias;  // the bias may be null
  int inputs, outputs, wide;
};

// to = from . weights + bias, for ROWS rows and one panel.
template <int WIDE, int ROWS>
inline void sums(const float *from, int pitch, const Weights &w, int panel, float *to, int to_pitch) {
  constexpr int SIZE = WIDE * LANES;
  Vec sum[ROWS][WIDE];
  for (int v = 0; v < WIDE; ++v) {
    const int at = panel * SIZE + v * LANES;
    const Vec start = w.bias ? load_some(w.bias + at, std::max(0, w.outputs - at)) : Vec{};
    for (int r = 0; r < ROWS; ++r) sum[r][v] = start;
  }
  const float *panels = w.panels + std::int64_t(panel) * w.inputs * SIZE;
  for (int k = 0; k < w.inputs; ++k, panels += SIZE) {
    Vec weight[WIDE];
#pragma GCC unroll 3
    for (int v = 0; v < WIDE; ++v) weight[v] = load(panels + v * LANES);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) {
      const Vec x = all(from[r * pitch + k]);
#pragma GCC unroll 3
      for (int v = 0; v < WIDE; ++v) sum[r][v] += x * weight[v];
    }
  }
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < WIDE; ++v) store(sum[r][v], to + r * to_pitch + panel * SIZE + v * LANES);
}

template <int WIDE>
void product(const float *from, int pitch, const Weights &w, float *to, int to_pitch) {
  constexpr int ROWS = REGISTERS / WIDE;
  const int panels = (w.outputs + WIDE * LANES - 1) / (WIDE * LANES);
  for (int panel = 0; panel < panels; ++panel)
    for (int row = 0; row < TILE; row += ROWS)
      sums<WIDE, ROWS>(from + row * pitch, pitch, w, panel, to + row * to_pitch, to_pitch);
}

void product(const float *from, int pitch, const Weights &w, float *to, int to_pitch) {
  if (w.wide == 3)
    product<3>(from, pitch, w, to, to_pitch);
  else
    product<2>(from, pitch, w, to, to_pitch);
}

int padded(const Weights &w) {
  const int size = w.wide * LANES;
  return (w.outputs + size - 1) / size * size;
}

}  // namespace

// The arguments of pear_mirror_mlp, in the order of compiled.py.
struct Perceptron {
  const float *x[2], *widen[2], *narrow[2];
  const float *widen_bias, *narrow_bias;  // of the even part
  const float *norm_weight[2], *norm_bias;
  float *out[2];
  std::int64_t rows, width, hidden, widen_wide, narrow_wide, threads;
  float epsilon;
};

extern "C" void pear_mirror_mlp(const Perceptron *a) {
  const int width = static_cast<int>(a->width), hidden = static_cast<int>(a->hidden);
  Weights widen[2], narrow[2];
  for (int p = 0; p < 2; ++p) {
    const int first = static_cast<int>(a->widen_wide), second = static_cast<int>(a->narrow_wide);
    widen[p] = {a->widen[p], p ? nullptr : a->widen_bias, width, hidden, first};
    narrow[p] = {a->narrow[p], p ? nullptr : a->narrow_bias, hidden, width, second};
  }
  const Norm norm = {{a->norm_weight[0], a->norm_weight[1]}, a->norm_bias, width, 2, a->epsilon};
  const int inner = padded(widen[0]), outer = padded(narrow[0]);
  const std::int64_t tiles = (a->rows + TILE - 1) / TILE;
#pragma omp parallel num_threads(static_cast<int>(a->threads))
  {
    std::vector<float> room(TILE * (width + 2 * inner + 2 * outer) + LANES);
    float *x = room.data(), *h[2] = {x + TILE * width, x + TILE * (width + inner)};
    float *y[2] = {h[1] + TILE * inner, h[1] + TILE * (inner + outer)};
#pragma omp for schedule(static)
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t row = tile * TILE;
      const int rows = static_cast<int>(std::min<std::int64_t>(TILE, a->rows - row));
      for (int p = 0; p < 2; ++p) {
        const float *from = a->x[p] + row * width;
        if (rows < TILE) from = std::copy(from, from + rows * width, x) - rows * width;
        product(from, width, widen[p], h[p], inner);
      }
      for (int at = 0; at < TILE * inner; at += LANES) {
        Vec e = load(h[0] + at), o = load(h[1] + at);
        mirror_gelu(e, o);
        store(e, h[0] + at);
        store(o, h[1] + at);
      }
      for (int p = 0; p < 2; ++p) product(h[p], inner, narrow[p], y[p], outer);
      for (int r = 0; r < rows; ++r) {
        const std::int64_t at = (row + r) * width;
        residual_norm<float>(norm, {a->x[0] + at, a->x[1] + at},
                             {y[0] + r * outer, y[1] + r * outer}, {a->out[0] + at, a->out[1] + at});
      }
    }
  }
}
