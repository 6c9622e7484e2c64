// A whole block on mirrored features, window by window: attention, norm, MLP, norm.
//
// The GELU and the softmax act in another basis than the products around them, so that no library
// fuses them. A window's features, queries, keys, values and hidden features stay in the
// second-level cache.
//
// Called by pear/equivariant/kernels/mirror_block.py, which has the same signature. The tests compare
// it with pear/equivariant/block.py.

#include <vector>

#include "attention.h"
#include "norm.h"
#include "product.h"

namespace {

using namespace pear;

constexpr int CHUNK = 32;  // rows whose hidden features are held at a time

// A linear map: panels of even and odd weights, and the bias of the even part.
struct Linear {
  const float *panels[2], *bias;
  std::int64_t inputs, outputs, wide;
  Weights part(int p) const {
    return {panels[p], p ? nullptr : bias, static_cast<int>(inputs), static_cast<int>(outputs),
            static_cast<int>(wide)};
  }
};

struct Scales {
  const float *weight[2], *bias;
};

}  // namespace

// The argument of pear_mirror_block, in the order of mirror_block.py.
struct Block {
  const float *x[2];  // (batch, window, slot, feature)
  float *out[2];
  const std::int64_t *gather;  // slot of the windows to row; null: as they are
  Linear qkv, proj, widen, narrow;
  Scales norms[2];
  const float *bias, *masks;  // (head, slot, slot), heads of a, then those of b; (mask, slot, slot)
  float *tables;              // room for both
  const std::int32_t *mask_of;
  std::int64_t batch, windows, slots, masks_count, heads, threads;
  float epsilon, scale;
};

namespace {

// Workspace of a thread, for one window.
template <int SLOTS>
struct Scratch {
  Workspace<SLOTS, float> attention;
  std::vector<float> all;
  float *x[2], *qkv[2], *mixed[2], *y[2], *hidden[2];
  int width, qkv_pitch, y_pitch, hidden_pitch;

  explicit Scratch(const Block &a)
      : width(static_cast<int>(a.proj.inputs)),
        qkv_pitch(padded(a.qkv.part(0))),
        y_pitch(std::max(padded(a.proj.part(0)), padded(a.narrow.part(0)))),
        hidden_pitch(padded(a.widen.part(0))) {
    const int sizes[5] = {SLOTS * width, SLOTS * qkv_pitch, SLOTS * width, SLOTS * y_pitch,
                          CHUNK * hidden_pitch};
    std::int64_t total = 0;
    for (int size : sizes) total += 2 * size;
    all.resize(total);
    float *next = all.data();
    float **parts[5] = {x, qkv, mixed, y, hidden};
    for (int i = 0; i < 5; ++i)
      for (int p = 0; p < 2; ++p, next += sizes[i]) parts[i][p] = next;
  }
};

template <int SLOTS>
void attention(Scratch<SLOTS> &r, const Block &a, const float *masks, std::int64_t window) {
  const int heads = static_cast<int>(a.heads), d = r.width / heads;
  for (int p = 0; p < 2; ++p)
    product(r.x[p], r.width, a.qkv.part(p), r.qkv[p], r.qkv_pitch, SLOTS);
  const auto operand = [&](int which) {
    const int at = which * r.width;
    return Operand<float>{r.qkv[0] + at, r.qkv[1] + at, r.qkv_pitch, d};
  };
  const Call<float> call = {operand(0), operand(1), operand(2), a.tables, masks,
                            a.mask_of + window, r.mixed[0], r.mixed[1], 1, heads, d, a.scale};
  for (int head = 0; head < heads; ++head)
    run(r.attention, call, Job{0, head}, Job{0, std::min(head + 1, heads - 1)});
  for (int p = 0; p < 2; ++p)
    product(r.mixed[p], r.width, a.proj.part(p), r.y[p], r.y_pitch, SLOTS);
}

// x + norm(y) of some rows of the window, to rows that `to` tells.
template <int SLOTS, class To>
void add(Scratch<SLOTS> &r, const Block &a, int which, int first, int rows, const To &to) {
  const Scales &s = a.norms[which];
  const Norm norm = {{s.weight[0], s.weight[1]}, s.bias, r.width, 2, a.epsilon};
  for (int i = 0; i < rows; ++i) {
    const int at = (first + i) * r.width;
    residual_norm<float>(norm, {r.x[0] + at, r.x[1] + at},
                         {r.y[0] + i * r.y_pitch, r.y[1] + i * r.y_pitch},
                         {to(0, first + i), to(1, first + i)});
  }
}

template <int SLOTS>
void perceptron(Scratch<SLOTS> &r, const Block &a, int first, int rows) {
  const auto from = [&](int p) { return r.x[p] + first * r.width; };
  for (int p = 0; p < 2; ++p)
    product(from(p), r.width, a.widen.part(p), r.hidden[p], r.hidden_pitch, rows);
  for (int at = 0; at < rows * r.hidden_pitch; at += LANES) {
    Vec e = load(r.hidden[0] + at), o = load(r.hidden[1] + at);
    mirror_gelu(e, o);
    store(e, r.hidden[0] + at);
    store(o, r.hidden[1] + at);
  }
  for (int p = 0; p < 2; ++p)
    product(r.hidden[p], r.hidden_pitch, a.narrow.part(p), r.y[p], r.y_pitch, rows);
}

template <int SLOTS>
void every_window(const Block &a, const float *masks) {
#pragma omp parallel num_threads(static_cast<int>(a.threads))
  {
    Scratch<SLOTS> r(a);
#pragma omp for schedule(static)
    for (std::int64_t n = 0; n < a.batch * a.windows; ++n) {
      const std::int64_t window = n % a.windows, start = (n - window) * SLOTS;
      const auto row = [&](int slot) {
        const std::int64_t at = window * SLOTS + slot;
        return (start + (a.gather ? a.gather[at] : at)) * r.width;
      };
      for (int slot = 0; slot < SLOTS; ++slot)
        for (int p = 0; p < 2; ++p)
          std::copy_n(a.x[p] + row(slot), r.width, r.x[p] + slot * r.width);
      attention(r, a, masks, window);
      add(r, a, 0, 0, SLOTS, [&](int p, int slot) { return r.x[p] + slot * r.width; });
      for (int first = 0; first < SLOTS; first += CHUNK) {
        const int rows = std::min(CHUNK, SLOTS - first);
        perceptron(r, a, first, rows);
        add(r, a, 1, first, rows, [&](int p, int slot) { return a.out[p] + row(slot); });
      }
    }
  }
}

}  // namespace

// Outputs of a panel are `wide` times as many.
extern "C" int pear_lanes() { return LANES; }

// Returns 0, or 1 if there is no kernel for this shape.
extern "C" int pear_mirror_block(const Block *a) {
  const bool known = a->slots == 16 || a->slots == 32 || a->slots == 64 || a->slots == 128;
  if (!known || a->proj.inputs / a->heads > MOST_WIDTH) return 1;
  const std::int64_t biases = 2 * a->heads;
  float *masks = a->tables + biases * a->slots * a->slots;
#pragma omp parallel for num_threads(static_cast<int>(a->threads))
  for (std::int64_t t = 0; t < biases + a->masks_count; ++t) {
    if (t < biases)
      prepare(a->bias, a->tables, a->slots, t);
    else
      prepare(a->masks, masks, a->slots, t - biases);
  }
  switch (a->slots) {
    case 16: every_window<16>(*a, masks); break;
    case 32: every_window<32>(*a, masks); break;
    case 64: every_window<64>(*a, masks); break;
    default: every_window<128>(*a, masks);
  }
  return 0;
}
