/* Vectors of this machine, and functions of them.

Whatever their width, each number comes about by the same operations in the same order, products and
sums fused where it is written so and nowhere else: the same bits on every machine. */

#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#ifndef LANES /* a test tries other widths */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#endif
#if !defined(__FMA__) && !defined(__ARM_FEATURE_FMA) && !defined(__FP_FAST_FMAF)
#error "this processor has no fused multiply-add"
#endif

#define WIDE 16 /* numbers of a panel of weights, and partial sums of a reduction, on every machine */
#define PARTS (WIDE / LANES)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE floats all(float x) { return x - (floats){0}; } /* plus would make 0 of -0, and so be an addition */

/* a * b + c, rounded once. */
INLINE floats fused(floats a, floats b, floats c) {
#if LANES == 16 && defined(__AVX512F__)
    return (floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8 && defined(__AVX2__)
    return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif LANES == 4 && defined(__ARM_NEON)
    return (floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#endif
}

INLINE floats choose(ints which, floats a, floats b) {
    return (floats)(((ints)a & which) | ((ints)b & ~which));
}

INLINE floats larger(floats a, floats b) { return choose(a > b, a, b); }

INLINE floats root(floats x) {
    for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
}

/* Of 16 partial sums, by halves. */
INLINE float total(const floats sums[PARTS]) {
    float sum[WIDE];
    for (int i = 0; i < WIDE; i++) sum[i] = sums[i / LANES][i % LANES];
    for (int half = WIDE / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* erf(x) to seven digits: x P(x^2) / Q(x^2), fitted with relative weights up to 4, where it is 1. */
INLINE floats error_function(floats x) {
    x = -larger(-larger(x, all(-4)), all(-4));
    const floats z = x * x;
    floats p = fused(z, all(1.98677844e-06f), all(0.000284567795f)), q = fused(z, all(3.74202355e-05f), all(0.00118558691f));
    p = fused(p, z, all(0.00388340466f)), q = fused(q, z, all(0.0152073707f));
    p = fused(p, z, all(0.0531019308f)), q = fused(q, z, all(0.115350559f));
    p = fused(p, z, all(0.193546399f)), q = fused(q, z, all(0.504858613f));
    p = fused(p, z, all(1.12837911f)), q = fused(q, z, all(1));
    return x * p / q;
}

INLINE floats gelu(floats x) {
    const floats half = x * 0.5f;
    return fused(half, error_function(x * 0.707106781f), half);
}

/* log(x) of normal x > 0 to seven digits: x = 2^n (1 + f) with 1 + f around 1, and a polynomial in f. */
INLINE floats logarithm(floats x) {
    const ints least = (ints){0} + 0x3f3504f3; /* sqrt(1/2) */
    const ints bits = (ints)x - least;
    const floats n = __builtin_convertvector(bits >> 23, floats);
    const floats f = (floats)((bits & 0x7fffff) + least) - 1, z = f * f;
    floats p = fused(f, all(-0.0763458163f), all(0.127617225f));
    p = fused(p, f, all(-0.131602198f));
    p = fused(p, f, all(0.142017409f));
    p = fused(p, f, all(-0.166233525f));
    p = fused(p, f, all(0.200012267f));
    p = fused(p, f, all(-0.250008225f));
    p = fused(p, f, all(0.333333313f));
    p = fused(n, all(-2.12194440e-4f), p * (z * f));
    return fused(n, all(0.693359375f), f + fused(z, all(-0.5f), p));
}
