/* Vectors of this machine, and how the numbers in them are packed. */

#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define LANES 16
#define ROWS 4 /* whose sums fit in registers */
#else
#define LANES 8
#define ROWS 2
#endif
#define VECTORS 4
#define PANEL (VECTORS * LANES)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

enum { FLOAT32 = 1, BFLOAT16 = 2, INT8 = 4 }; /* numbers a word */

/* Numbers `part * LANES ...` of the words in a vector. Those of a word are LANES apart, so that
unpacking shifts and nothing moves between lanes. */
INLINE floats unpack(words packed, int kind, int part) {
    if (kind == FLOAT32) return (floats)packed;
    if (kind == INT8) return __builtin_convertvector((ints)(packed << (24 - 8 * part)) >> 24, floats);
    return part ? (floats)(packed & 0xffff0000u) : (floats)(packed << 16);
}

INLINE floats unpack_at(const uint32_t *from, int kind, int v) {
    return unpack(*(const words *)(from + v / kind * LANES), kind, v % kind);
}

/* Round to nearest even, as torch does. */
INLINE uint16_t to_bfloat16(float x) {
    union { float f; uint32_t u; } bits = {x};
    return (bits.u + 0x7fff + ((bits.u >> 16) & 1)) >> 16;
}

/* Write number i of a stretch of words that `unpack` reads; in int8 x is a whole number. */
INLINE void pack(uint32_t *to, int kind, long i, float x) {
    const long at = (i / (kind * LANES) * LANES + i % LANES) * kind + i / LANES % kind;
    if (kind == FLOAT32) ((float *)to)[at] = x;
    if (kind == BFLOAT16) ((uint16_t *)to)[at] = to_bfloat16(x);
    if (kind == INT8) ((int8_t *)to)[at] = (int8_t)x;
}

/* To the nearest whole number, of magnitudes up to 127. */
INLINE int rounded(float x) { return (int)(x + 128.5f) - 128; }

INLINE floats larger(floats a, floats b) {
    ints which = a > b;
    return (floats)(((ints)a & which) | ((ints)b & ~which));
}

INLINE float total(floats v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

INLINE float largest(floats v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

/* The largest magnitude among so many numbers, above 0. */
static float magnitude(const float *x, int count) {
    floats highest = {0};
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        const floats v = *(const floats *)(x + i);
        highest = larger(highest, larger(v, -v));
    }
    float most = largest(highest);
    for (; i < count; i++) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    return most > 1e-30f ? most : 1e-30f;
}

/* e^x to seven digits, x held within +-87: 2^n times a polynomial, after Cody and Waite. */
INLINE floats exponential(floats x) {
    const floats bound = (floats){0} + 87.0f, shift = (floats){0} + 12582912.0f; /* 3 * 2^22 rounds */
    x = -larger(-larger(x, -bound), -bound);
    floats shifted = x * 1.44269504f + shift, n = shifted - shift;
    floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    floats p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (floats)(((ints)shifted - 0x4b400000 + 127) << 23);
}
