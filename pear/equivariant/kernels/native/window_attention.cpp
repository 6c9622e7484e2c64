// Window attention of all windows; see attention.h.
//
// Called by pear/equivariant/kernels/compiled.py, which has the same signature. The tests compare it
// with pear/equivariant/attention.py.

#include "attention.h"

namespace {

using namespace pear;

template <int SLOTS, class T>
void every_window(const Call<T> &call, int threads) {
  const std::int64_t jobs = call.windows * call.heads;
  const auto job = [&](std::int64_t n) {
    return Job{n / call.heads, static_cast<int>(n % call.heads)};
  };
#pragma omp parallel num_threads(threads)
  {
    Workspace<SLOTS, T> w;
#pragma omp for schedule(static)
    for (std::int64_t n = 0; n < jobs; ++n) run(w, call, job(n), job(std::min(n + 1, jobs - 1)));
  }
}

template <class T>
void every_window(const Call<T> &call, std::int64_t slots, int threads) {
  switch (slots) {
    case 16: return every_window<16>(call, threads);
    case 32: return every_window<32>(call, threads);
    case 64: return every_window<64>(call, threads);
    default: return every_window<128>(call, threads);
  }
}

template <class T>
Operand<T> operand(const void *even, const void *odd, const std::int64_t *strides) {
  return {static_cast<const T *>(even), static_cast<const T *>(odd), strides[0], strides[1]};
}

}  // namespace

// The arguments of pear_window_attention, in the order of compiled.py.
struct Arguments {
  const void *q[2], *k[2], *v[2];  // even (or all there is), odd (or null)
  const std::int64_t *strides;     // (row, head) of q, k, v, in elements; features contiguous
  const float *bias;               // (head, slot, slot); mirrored: heads of a, then those of b
  const float *masks;              // (mask, slot, slot)
  float *tables;                   // room for bias and masks
  const std::int32_t *mask_of;     // number of each window's mask, or -1
  void *out[2];                    // (row, head, d), contiguous
  std::int64_t windows, slots, masks_count, heads, d, half, threads;
  float scale;
};

// Returns 0, or 1 if there is no kernel for this shape.
extern "C" int pear_window_attention(const Arguments *a) {
  const bool known = a->slots == 16 || a->slots == 32 || a->slots == 64 || a->slots == 128;
  if (!known || a->d < 1 || a->d > MOST_WIDTH) return 1;
  const std::int64_t biases = a->heads * (a->out[1] ? 2 : 1);
  float *masks = a->tables + biases * a->slots * a->slots;
  const int threads = static_cast<int>(a->threads);
#pragma omp parallel for num_threads(threads)
  for (std::int64_t t = 0; t < biases + a->masks_count; ++t) {
    if (t < biases)
      prepare(a->bias, a->tables, a->slots, t);
    else
      prepare(a->masks, masks, a->slots, t - biases);
  }
  const auto start = [&](auto zero) {
    typedef decltype(zero) T;
    const Call<T> call = {
        operand<T>(a->q[0], a->q[1], a->strides),     operand<T>(a->k[0], a->k[1], a->strides + 2),
        operand<T>(a->v[0], a->v[1], a->strides + 4), a->tables,
        masks,                                        a->mask_of,
        static_cast<T *>(a->out[0]),                  static_cast<T *>(a->out[1]),
        a->windows,                                   static_cast<int>(a->heads),
        static_cast<int>(a->d),                       a->scale};
    every_window(call, a->slots, threads);
  };
  if (a->half)
    start(bfloat16{});
  else
    start(0.0f);
  return 0;
}
