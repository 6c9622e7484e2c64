// Products of some rows that are at hand with weights: sums stay in registers, weights in caches.

#pragma once

#include "vector.h"

namespace pear {

// Rows that are summed at a time: with three vectors of outputs, what the registers hold.
constexpr int ROWS = LANES / 2;

// Weights of one part: panels of as many outputs as `wide` vectors hold, each (input, output).
struct Weights {
  const float *panels, *bias;  // the bias may be null
  int inputs, outputs, wide;
};

// to = from . weights + bias, for ROWS rows and one panel.
template <int WIDE>
inline void sums(const float *from, int pitch, const Weights &w, int panel, float *to,
                 int to_pitch) {
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
#pragma GCC unroll 8
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
void product(const float *from, int pitch, const Weights &w, float *to, int to_pitch, int rows) {
  const int panels = (w.outputs + WIDE * LANES - 1) / (WIDE * LANES);
  for (int panel = 0; panel < panels; ++panel)
    for (int row = 0; row < rows; row += ROWS)
      sums<WIDE>(from + row * pitch, pitch, w, panel, to + row * to_pitch, to_pitch);
}

// For a number of rows that is a multiple of ROWS; `to` has room for whole panels.
inline void product(const float *from, int pitch, const Weights &w, float *to, int to_pitch,
                    int rows) {
  if (w.wide == 3)
    product<3>(from, pitch, w, to, to_pitch, rows);
  else
    product<2>(from, pitch, w, to, to_pitch, rows);
}

inline int padded(const Weights &w) {
  const int size = w.wide * LANES;
  return (w.outputs + size - 1) / size * size;
}

}  // namespace pear
