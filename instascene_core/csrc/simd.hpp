// A vector of floats and a lane mask for each instruction set, as thin as possible.
//
// L lanes: 16 with AVX-512, 8 with AVX2, 4 otherwise (SSE2, NEON, anything GCC or Clang knows).
// Every multiply-add that matters is written as fma(): the library is compiled with
// -ffp-contract=off, so that the forward and the backward pass compute bitwise the same alpha.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace isk {

#if defined(__AVX512F__)

constexpr int L = 16;

struct Mask {
  __mmask16 m;
};
struct F {
  __m512 v;
  F() = default;
  F(__m512 x) : v(x) {}
  F(float x) : v(_mm512_set1_ps(x)) {}
  explicit F(double x) : F(static_cast<float>(x)) {}
};
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline F operator+(F a, F b) { return _mm512_add_ps(a.v, b.v); }
inline F operator-(F a, F b) { return _mm512_sub_ps(a.v, b.v); }
inline F operator*(F a, F b) { return _mm512_mul_ps(a.v, b.v); }
inline F operator/(F a, F b) { return _mm512_div_ps(a.v, b.v); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
inline F min(F a, F b) { return _mm512_min_ps(a.v, b.v); }
inline F max(F a, F b) { return _mm512_max_ps(a.v, b.v); }
inline F sqrt(F a) { return _mm512_sqrt_ps(a.v); }
inline Mask operator<(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator>(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask operator>=(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline Mask operator==(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
inline Mask and_not(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & ~b.m)}; }  // a and not b
inline bool any(Mask a) { return a.m != 0; }
inline uint32_t bits(Mask a) { return a.m; }
inline F select(Mask m, F yes, F no) { return _mm512_mask_blend_ps(m.m, no.v, yes.v); }
inline F zero_unless(Mask m, F a) { return _mm512_maskz_mov_ps(m.m, a.v); }
inline F round_nearest(F a) {
  return _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F scale_by_power_of_two(F a, F n) { return _mm512_scalef_ps(a.v, n.v); }
// base[index] per lane; index: whole numbers from 0 to 2^24.
inline F gather(const float* base, F index) {
  return _mm512_i32gather_ps(_mm512_cvtps_epi32(index.v), base, sizeof(float));
}
// The four 16-bit numbers of base[index], lowest first, per lane: one load where gather() would take four.
inline void gather_quads(const uint64_t* base, F index, F* out) {
  const __m512i i = _mm512_cvtps_epi32(index.v), low16 = _mm512_set1_epi32(0xFFFF);
  const __m512i first = _mm512_i32gather_epi64(_mm512_castsi512_si256(i), base, 8);
  const __m512i last = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(i, 1), base, 8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m512i low = _mm512_permutex2var_epi32(first, even, last);
  const __m512i high = _mm512_permutex2var_epi32(first, odd, last);
  out[0] = _mm512_cvtepi32_ps(_mm512_and_si512(low, low16));
  out[1] = _mm512_cvtepi32_ps(_mm512_srli_epi32(low, 16));
  out[2] = _mm512_cvtepi32_ps(_mm512_and_si512(high, low16));
  out[3] = _mm512_cvtepi32_ps(_mm512_srli_epi32(high, 16));
}

// Sums over the lanes of four vectors, as four floats.
inline void sum4(const F* a, float* out) {
  __m512 p = _mm512_add_ps(_mm512_unpacklo_ps(a[0].v, a[1].v), _mm512_unpackhi_ps(a[0].v, a[1].v));
  __m512 q = _mm512_add_ps(_mm512_unpacklo_ps(a[2].v, a[3].v), _mm512_unpackhi_ps(a[2].v, a[3].v));
  // p: a0 a1 a0 a1 per 128 bits; q: a2 a3 a2 a3
  __m512 s = _mm512_add_ps(_mm512_shuffle_ps(p, q, 0x44), _mm512_shuffle_ps(p, q, 0xEE));
  __m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

#elif defined(__AVX2__)

constexpr int L = 8;

struct Mask {
  __m256 m;
};
struct F {
  __m256 v;
  F() = default;
  F(__m256 x) : v(x) {}
  F(float x) : v(_mm256_set1_ps(x)) {}
  explicit F(double x) : F(static_cast<float>(x)) {}
};
inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
inline F operator+(F a, F b) { return _mm256_add_ps(a.v, b.v); }
inline F operator-(F a, F b) { return _mm256_sub_ps(a.v, b.v); }
inline F operator*(F a, F b) { return _mm256_mul_ps(a.v, b.v); }
inline F operator/(F a, F b) { return _mm256_div_ps(a.v, b.v); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
inline F min(F a, F b) { return _mm256_min_ps(a.v, b.v); }
inline F max(F a, F b) { return _mm256_max_ps(a.v, b.v); }
inline F sqrt(F a) { return _mm256_sqrt_ps(a.v); }
inline Mask operator<(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator>(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask operator>=(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
inline Mask operator==(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
inline Mask and_not(Mask a, Mask b) { return {_mm256_andnot_ps(b.m, a.m)}; }  // a and not b
inline uint32_t bits(Mask a) { return static_cast<uint32_t>(_mm256_movemask_ps(a.m)); }
inline bool any(Mask a) { return bits(a) != 0; }
inline F select(Mask m, F yes, F no) { return _mm256_blendv_ps(no.v, yes.v, m.m); }
inline F zero_unless(Mask m, F a) { return _mm256_and_ps(m.m, a.v); }
inline F round_nearest(F a) { return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F scale_by_power_of_two(F a, F n) {
  __m256i e = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), e));
}
inline F gather(const float* base, F index) {
  return _mm256_i32gather_ps(base, _mm256_cvtps_epi32(index.v), sizeof(float));
}
inline void gather_quads(const uint64_t* base, F index, F* out) {
  const __m256i i = _mm256_cvtps_epi32(index.v), low16 = _mm256_set1_epi32(0xFFFF);
  const auto* words = reinterpret_cast<const long long*>(base);
  const __m256 first = _mm256_castsi256_ps(_mm256_i32gather_epi64(words, _mm256_castsi256_si128(i), 8));
  const __m256 last = _mm256_castsi256_ps(_mm256_i32gather_epi64(words, _mm256_extracti128_si256(i, 1), 8));
  const auto ordered = [](__m256 a) { return _mm256_permute4x64_epi64(_mm256_castps_si256(a), 0xD8); };
  const __m256i low = ordered(_mm256_shuffle_ps(first, last, 0x88));
  const __m256i high = ordered(_mm256_shuffle_ps(first, last, 0xDD));
  out[0] = _mm256_cvtepi32_ps(_mm256_and_si256(low, low16));
  out[1] = _mm256_cvtepi32_ps(_mm256_srli_epi32(low, 16));
  out[2] = _mm256_cvtepi32_ps(_mm256_and_si256(high, low16));
  out[3] = _mm256_cvtepi32_ps(_mm256_srli_epi32(high, 16));
}

inline void sum4(const F* a, float* out) {
  __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a[0].v, a[1].v), _mm256_hadd_ps(a[2].v, a[3].v));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

#else

constexpr int L = 4;

typedef float V4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));

struct Mask {
  I4 m;
};
struct F {
  V4 v;
  F() = default;
  F(V4 x) : v(x) {}
  F(float x) : v(V4{x, x, x, x}) {}
  explicit F(double x) : F(static_cast<float>(x)) {}
};
inline F load(const float* p) {
  F r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
inline void store(float* p, F a) { std::memcpy(p, &a.v, sizeof a.v); }
inline F operator+(F a, F b) { return a.v + b.v; }
inline F operator-(F a, F b) { return a.v - b.v; }
inline F operator*(F a, F b) { return a.v * b.v; }
inline F operator/(F a, F b) { return a.v / b.v; }
inline Mask operator<(F a, F b) { return {a.v < b.v}; }
inline Mask operator<=(F a, F b) { return {a.v <= b.v}; }
inline Mask operator>(F a, F b) { return {a.v > b.v}; }
inline Mask operator>=(F a, F b) { return {a.v >= b.v}; }
inline Mask operator==(F a, F b) { return {a.v == b.v}; }
inline Mask operator&(Mask a, Mask b) { return {a.m & b.m}; }
inline Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
inline Mask and_not(Mask a, Mask b) { return {a.m & ~b.m}; }  // a and not b
inline F select(Mask m, F yes, F no) {
  return reinterpret_cast<V4>((reinterpret_cast<I4>(yes.v) & m.m) | (reinterpret_cast<I4>(no.v) & ~m.m));
}
inline F zero_unless(Mask m, F a) { return reinterpret_cast<V4>(reinterpret_cast<I4>(a.v) & m.m); }
// Adding and subtracting 1.5·2^23 rounds |a| < 2^22 to the nearest integer; -ffast-math would delete it.
inline F round_nearest(F a) { return (a + F(12582912.0f)) - F(12582912.0f); }
inline F scale_by_power_of_two(F a, F n) {
  I4 e = __builtin_convertvector(n.v, I4) << 23;
  return reinterpret_cast<V4>(reinterpret_cast<I4>(a.v) + e);
}
inline F gather(const float* base, F index) {
  const I4 i = __builtin_convertvector(index.v, I4);
  return V4{base[i[0]], base[i[1]], base[i[2]], base[i[3]]};
}
inline void gather_quads(const uint64_t* base, F index, F* out) {
  const I4 i = __builtin_convertvector(index.v, I4);
  for (int lane = 0; lane < L; ++lane)
    for (int k = 0; k < 4; ++k) out[k].v[lane] = static_cast<float>(base[i[lane]] >> (16 * k) & 0xFFFF);
}

#if defined(__SSE2__)
inline F fma(F a, F b, F c) { return a.v * b.v + c.v; }
inline F min(F a, F b) { return reinterpret_cast<V4>(_mm_min_ps((__m128)a.v, (__m128)b.v)); }
inline F max(F a, F b) { return reinterpret_cast<V4>(_mm_max_ps((__m128)a.v, (__m128)b.v)); }
inline F sqrt(F a) { return reinterpret_cast<V4>(_mm_sqrt_ps((__m128)a.v)); }
inline uint32_t bits(Mask a) { return static_cast<uint32_t>(_mm_movemask_ps((__m128)a.m)); }
#else
inline F min(F a, F b) { return select(a < b, a, b); }
inline F max(F a, F b) { return select(a > b, a, b); }
inline F sqrt(F a) {
  return V4{__builtin_sqrtf(a.v[0]), __builtin_sqrtf(a.v[1]), __builtin_sqrtf(a.v[2]),
            __builtin_sqrtf(a.v[3])};
}
#if defined(__ARM_NEON) && defined(__aarch64__)
inline F fma(F a, F b, F c) {
  return reinterpret_cast<V4>(vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v));
}
#else
inline F fma(F a, F b, F c) { return a.v * b.v + c.v; }
#endif
inline uint32_t bits(Mask a) { return (a.m[0] & 1) | (a.m[1] & 2) | (a.m[2] & 4) | (a.m[3] & 8); }
#endif
inline bool any(Mask a) { return bits(a) != 0; }

inline void sum4(const F* a, float* out) {
  for (int k = 0; k < 4; ++k) out[k] = (a[k].v[0] + a[k].v[1]) + (a[k].v[2] + a[k].v[3]);
}

#endif

constexpr uint32_t ALL_LANES = L == 32 ? 0xFFFFFFFFu : (1u << L) - 1u;

inline F operator-(F a) { return F(0.0f) - a; }
inline F& operator+=(F& a, F b) { return a = a + b; }
inline F& operator-=(F& a, F b) { return a = a - b; }
inline F floor(F a) {  // |a| < 2^22
  const F nearest = round_nearest(a);
  return select(nearest > a, nearest - F(1.0f), nearest);
}
inline Mask none() { return F(1.0f) < F(0.0f); }
inline Mask all_lanes() { return F(0.0f) < F(1.0f); }

// 2^t for t in [-120, 120], relative error below 2e-7: 2^n times a polynomial on [-1/2, 1/2].
inline F exp2(F t) {
  F n = round_nearest(t);
  F f = t - n;
  F p = F(1.5403530394e-4f);
  p = fma(p, f, F(1.3333558147e-3f));
  p = fma(p, f, F(9.6181291076e-3f));
  p = fma(p, f, F(5.5504108665e-2f));
  p = fma(p, f, F(2.4022650696e-1f));
  p = fma(p, f, F(6.9314718056e-1f));
  p = fma(p, f, F(1.0f));
  return scale_by_power_of_two(p, n);
}

// e^x for x in [-80, 80], relative error below 1e-7 · |x|.
inline F exp(F x) { return exp2(x * F(1.44269504088896f)); }

}  // namespace isk
