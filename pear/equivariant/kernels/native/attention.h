// softmax(q k^T scale + bias + mask) v inside windows, one head of one window at a time.
//
// Lanes are queries: sixteen of them go through all keys side by side, so that maxima, sums and
// products never cross the lanes, and their logits (8 kB) stay in the first-level cache. Everything
// is summed in single precision; bfloat16 is how operands are stored, and where a processor
// multiplies pairs of it, how they are multiplied.

#pragma once

#include <type_traits>

#include "vector.h"

namespace pear {

constexpr int MOST_WIDTH = 64;
// Packed rows are as far apart for any width: known offsets, and no two rows in one cache set.
constexpr int PITCH = MOST_WIDTH + 8;

// A head of a window.
struct Job {
  std::int64_t window;
  int head;
};

// One of q, k, v: where it lies, and how far apart rows (tokens) and heads are. Of mirrored
// features there are two, and the head sees their sum (sign 1) or difference (sign -1).
template <class T>
struct Operand {
  const T *even, *odd;
  std::int64_t row, head;
  std::int64_t at(Job job, int slots, int slot) const {
    return (job.window * slots + slot) * row + job.head * head;
  }
};

template <class T>
struct Call {
  Operand<T> q, k, v;
  const float *bias, *masks;  // transposed, in blocks of lanes: see `prepare`
  const std::int32_t *mask_of;
  T *even, *odd;
  std::int64_t windows;
  int heads, d;
  float scale;
};

// Features of a row, as many as there are lanes; zeros beyond the n-th.
template <class T>
inline Vec features(const Operand<T> &x, std::int64_t at, float sign, int n) {
  const Vec even = load_some(x.even + at, n);
  return sign == 0.0f ? even : (even + load_some(x.odd + at, n) * sign) * HALF_ROOT;
}

// How operands are packed and multiplied in single precision.
template <int SLOTS>
struct Single {
  static constexpr int UNIT = 4;                // features that heads are filled up to
  alignas(64) float query[MOST_WIDTH * SLOTS];  // (block, feature, lane), scaled
  alignas(64) float key[SLOTS * PITCH];         // (slot, feature)
  alignas(64) float value[SLOTS * PITCH];       // (slot, feature)
  alignas(64) float weight[SLOTS * LANES];      // (slot, lane)
  int width;

  void pack_query(int block, int feature, Vec (&x)[LANES], int n, float scale) {
    transpose(x);
    for (int c = 0; c < std::min(n, LANES); ++c)
      store(x[c] * scale, query + (block * width + feature + c) * LANES);
  }
  void pack_key(int slot, int feature, Vec x, int n) {
    store_some(x, key + slot * PITCH + feature, n);
  }
  void pack_values(int slot, int feature, Vec first, Vec second, int n) {
    store_some(first, value + slot * PITCH + feature, n);
    store_some(second, value + (slot + 1) * PITCH + feature, n);
  }

  // Logits, times log2 e, of one block of queries; returns the largest of each.
  Vec logits(int block, const float *bias, const float *mask, float) {
    Vec top = all(-__builtin_inff());
    for (int j = 0; j < SLOTS; j += 8) {
      Vec sum[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sum[i] = load(bias + (j + i) * LANES);
      if (mask)
        for (int i = 0; i < 8; ++i) sum[i] += load(mask + (j + i) * LANES);
      const float *q = query + block * width * LANES, *k = key + j * PITCH;
      for (int c = 0; c < width; ++c, q += LANES, ++k)
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) sum[i] += load(q) * k[i * PITCH];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        store(sum[i], weight + (j + i) * LANES);
        top = larger(top, sum[i]);
      }
    }
    return top;
  }

  // Unnormalised weights in place of the logits; returns their sum.
  Vec exponentials(Vec top) {
    Vec sum[4] = {};
    for (int j = 0; j < SLOTS; j += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const Vec e = power_of_two(load(weight + (j + i) * LANES) - top);
        store(e, weight + (j + i) * LANES);
        sum[i] += e;
      }
    return sum[0] + sum[1] + (sum[2] + sum[3]);
  }

  // Weighted sums of WIDTH features of the values.
  template <int WIDTH>
  void mix(int feature, Vec (&sum)[WIDTH]) {
    for (int j = 0; j < SLOTS; ++j) {
      const Vec p = load(weight + j * LANES);
#pragma GCC unroll 24
      for (int c = 0; c < WIDTH; ++c) sum[c] += p * value[j * PITCH + feature + c];
    }
  }
};

#if defined(__AVX512BF16__)
// The same by pairs in half precision: products are exact and summed in single precision; only the
// weights are rounded. Features (of q and k) or slots (of weights and v) stand in pairs.
template <int SLOTS>
struct Pairs {
  static constexpr int UNIT = 8;
  alignas(64) std::int32_t query[MOST_WIDTH / 2 * SLOTS];  // (block, pair of features, lane)
  alignas(64) std::int32_t key[SLOTS * PITCH / 2];         // (slot, pair of features)
  alignas(64) std::int32_t value[SLOTS / 2 * PITCH];       // (pair of slots, feature)
  alignas(64) float logit[SLOTS * LANES];                  // (slot, lane)
  alignas(64) std::int32_t weight[SLOTS / 2 * LANES];      // (pair of slots, lane)
  int width;

  static __m512 raw(Vec x) { return reinterpret_cast<__m512>(x); }
  static Vec dot(Vec sum, const std::int32_t *pairs, std::int32_t pair) {
    return reinterpret_cast<Vec>(_mm512_dpbf16_ps(raw(sum), (__m512bh)_mm512_loadu_si512(pairs),
                                                  (__m512bh)_mm512_set1_epi32(pair)));
  }

  void pack_query(int block, int feature, Vec (&x)[LANES], int n, float) {
    transpose(x);
    // Numbers are bfloat16's already, or rounded to it here; two neighbours share a lane.
    for (int c = 0; c < std::min(n, LANES); c += 2) {
      const __m512i low = _mm512_srli_epi32(round(x[c]), 16);
      const __m512i both = _mm512_or_si512(low, round(x[c + 1]));
      _mm512_storeu_si512(query + (block * width / 2 + (feature + c) / 2) * LANES, both);
    }
  }
  // To nearest, in the upper half of the lane; the lower half is zero.
  static __m512i round(Vec x) {
    const __m256i y = (__m256i)_mm512_cvtneps_pbh(raw(x));
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(y), 16);
  }
  void pack_key(int slot, int feature, Vec x, int n) {
    store_some(x, reinterpret_cast<bfloat16 *>(key) + slot * PITCH + feature, n);
  }
  void pack_values(int slot, int feature, Vec first, Vec second, int n) {
    const __m512i low = _mm512_srli_epi32(round(first), 16);
    const __m512i both = _mm512_or_si512(low, round(second));
    std::int32_t *to = value + slot / 2 * PITCH + feature;
    _mm512_mask_storeu_epi32(to, pear::first(n), both);
  }

  Vec logits(int block, const float *bias, const float *mask, float scale) {
    Vec top = all(-__builtin_inff());
    for (int j = 0; j < SLOTS; j += 8) {
      Vec sum[8] = {};
      const std::int32_t *q = query + block * width / 2 * LANES, *k = key + j * (PITCH / 2);
      for (int c = 0; c < width / 2; ++c, q += LANES, ++k)
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) sum[i] = dot(sum[i], q, k[i * (PITCH / 2)]);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        sum[i] = sum[i] * scale + load(bias + (j + i) * LANES);
        if (mask) sum[i] += load(mask + (j + i) * LANES);
        store(sum[i], logit + (j + i) * LANES);
        top = larger(top, sum[i]);
      }
    }
    return top;
  }

  Vec exponentials(Vec top) {
    alignas(64) static const std::uint16_t order[32] = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i interleave = _mm512_load_si512(order);
    Vec sum[2] = {};
    for (int j = 0; j < SLOTS; j += 2) {
      const Vec low = power_of_two<false>(load(logit + j * LANES) - top);
      const Vec high = power_of_two<false>(load(logit + (j + 1) * LANES) - top);
      sum[0] += low;
      sum[1] += high;
      const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(raw(high), raw(low));
      _mm512_store_si512(weight + j / 2 * LANES, _mm512_permutexvar_epi16(interleave, both));
    }
    return sum[0] + sum[1];
  }

  template <int WIDTH>
  void mix(int feature, Vec (&sum)[WIDTH]) {
    for (int j = 0; j < SLOTS / 2; ++j) {
      const std::int32_t *p = weight + j * LANES;
      const std::int32_t *v = value + j * PITCH + feature;
#pragma GCC unroll 24
      for (int c = 0; c < WIDTH; ++c) sum[c] = dot(sum[c], p, v[c]);
    }
  }
};
#endif

template <int SLOTS, class T>
#if defined(__AVX512BF16__)
using Method = std::conditional_t<std::is_same<T, bfloat16>::value, Pairs<SLOTS>, Single<SLOTS>>;
#else
using Method = Single<SLOTS>;
#endif

// What a thread works in: the operands of one head, and the half of the mirror that came first.
template <int SLOTS, class T>
struct Workspace {
  Method<SLOTS, T> method;
  alignas(64) float half[SLOTS * MOST_WIDTH];
};

template <int SLOTS, class T>
void pack(Method<SLOTS, T> &w, const Call<T> &call, Job job, float sign) {
  const int d = call.d;
  w.width = (d + Method<SLOTS, T>::UNIT - 1) / Method<SLOTS, T>::UNIT * Method<SLOTS, T>::UNIT;
  for (int feature = 0; feature < d; feature += LANES) {
    const int n = d - feature, padded = w.width - feature;
    for (int slot = 0; slot < SLOTS; slot += LANES) {
      const auto of = [&](const Operand<T> &x, int i) {
        return features(x, x.at(job, SLOTS, slot + i) + feature, sign, n);
      };
      Vec x[LANES];
      for (int i = 0; i < LANES; i += 2) {
        for (int j = i; j < i + 2; ++j) {
          x[j] = of(call.q, j);
          w.pack_key(slot + j, feature, of(call.k, j), padded);
        }
        w.pack_values(slot + i, feature, of(call.v, i), of(call.v, i + 1), padded);
      }
      w.pack_query(slot / LANES, feature, x, padded, call.scale * LOG2_E);
    }
  }
}

// Weighted sums of one block of queries, by as many features as registers hold at a time; returns
// how many.
template <int WIDTH, class M, class Write>
inline int mixed(M &w, int feature, Vec inverse, const Write &write) {
  Vec sum[WIDTH] = {};
  w.template mix<WIDTH>(feature, sum);
  for (int c = 0; c < WIDTH; c += LANES) {
    Vec x[LANES] = {};
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i)
      if (c + i < WIDTH) x[i] = sum[c + i] * inverse;
    transpose(x);
    write(feature + c, x, std::min(LANES, WIDTH - c));
  }
  return WIDTH;
}

// One head of one window; `write(first slot, feature, rows, features)` takes the result, and
// `meanwhile(first slot)` is called as the work goes on.
template <int SLOTS, class M, class Meanwhile, class Write>
void attend(M &w, const float *bias, const float *mask, float scale, const Meanwhile &meanwhile,
            const Write &write) {
  for (int block = 0; block < SLOTS / LANES; ++block) {
    meanwhile(block * LANES);
    const std::int64_t table = std::int64_t(block) * SLOTS * LANES;
    const Vec top = w.logits(block, bias + table, mask ? mask + table : nullptr, scale * LOG2_E);
    const Vec inverse = 1.0f / w.exponentials(top);
    const auto here = [&](int feature, Vec(&x)[LANES], int n) {
      write(block * LANES, feature, x, n);
    };
    for (int feature = 0; feature < w.width;) {
      const int left = w.width - feature;
      if (left == 24) {
        feature += mixed<24>(w, feature, inverse, here);
      } else if (left >= 16) {
        feature += mixed<16>(w, feature, inverse, here);
      } else if (left == 12) {
        feature += mixed<12>(w, feature, inverse, here);
      } else if (left >= 8) {
        feature += mixed<8>(w, feature, inverse, here);
      } else {
        feature += mixed<4>(w, feature, inverse, here);
      }
    }
  }
}

// Ask for what a head reads of some rows.
template <int SLOTS, class T>
inline void prefetch(const Call<T> &call, Job job, int slot) {
  for (const Operand<T> *x : {&call.q, &call.k, &call.v})
    for (int i = slot; i < slot + LANES; ++i) {
      const std::int64_t at = x->at(job, SLOTS, i);
      for (const T *part : {x->even, x->odd})
        if (part) {
          __builtin_prefetch(part + at, 0, 2);
          __builtin_prefetch(part + at + call.d - 1, 0, 2);
        }
    }
}

template <int SLOTS, class T>
void run(Workspace<SLOTS, T> &w, const Call<T> &call, Job job, Job next) {
  const int d = call.d, table = SLOTS * SLOTS, number = call.mask_of[job.window];
  const float *mask = number < 0 ? nullptr : call.masks + std::int64_t(number) * table;
  const float *bias = call.bias + std::int64_t(job.head) * table;
  const auto at = [&](int slot, int feature) {
    return ((job.window * SLOTS + slot) * call.heads + job.head) * d + feature;
  };
  const auto fetch = [&](int slot) { prefetch<SLOTS>(call, next, slot); };
  if (!call.odd) {
    pack<SLOTS>(w.method, call, job, 0.0f);
    const auto write = [&](int slot, int feature, Vec *x, int n) {
      for (int i = 0; i < LANES; ++i)
        store_some(x[i], call.even + at(slot + i, feature), std::min(n, d - feature));
    };
    attend<SLOTS>(w.method, bias, mask, call.scale, fetch, write);
    return;
  }
  const auto keep = [&](int slot, int feature, Vec *x, int n) {
    for (int i = 0; i < LANES; ++i) store_some(x[i], w.half + (slot + i) * MOST_WIDTH + feature, n);
  };
  pack<SLOTS>(w.method, call, job, 1.0f);
  attend<SLOTS>(w.method, bias, mask, call.scale, fetch, keep);
  const auto write = [&](int slot, int feature, Vec *x, int n) {
    for (int i = 0; i < LANES; ++i) {
      const Vec first = load_some(w.half + (slot + i) * MOST_WIDTH + feature, n);
      store_some((first + x[i]) * HALF_ROOT, call.even + at(slot + i, feature), std::min(n, d - feature));
      store_some((first - x[i]) * HALF_ROOT, call.odd + at(slot + i, feature), std::min(n, d - feature));
    }
  };
  bias += std::int64_t(call.heads) * table;
  pack<SLOTS>(w.method, call, job, -1.0f);
  attend<SLOTS>(w.method, bias, mask, call.scale, [](int) {}, write);
}

// (table, query, key) to (table, block of queries, key, lane), times log2 e.
inline void prepare(const float *from, float *to, std::int64_t slots, std::int64_t table) {
  from += table * slots * slots;
  to += table * slots * slots;
  for (std::int64_t query = 0; query < slots; query += LANES)
    for (std::int64_t key = 0; key < slots; key += LANES) {
      Vec x[LANES];
      for (int i = 0; i < LANES; ++i) x[i] = load(from + (query + i) * slots + key) * LOG2_E;
      transpose(x);
      for (int i = 0; i < LANES; ++i) store(x[i], to + query * slots + (key + i) * LANES);
    }
}

}  // namespace pear
