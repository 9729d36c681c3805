/* One step of a causal transformer on one core; cpu.py packs what it reads, and calls it.

A matrix lies in panels of PANEL outputs, a panel input by input: one stream of memory. A 32-bit word
holds one fp32 number, or two bf16 ones whose outputs are LANES apart, so that unpacking shifts and
nothing moves between lanes. Keys and values lie in words likewise. In int8 a word holds four inputs of
one output, within +-63, and is multiplied with four bytes of a row that is rounded on the spot: 255 * 63
* 2 still fits the 16 bits that x86 adds pairs of products in.

Every output is the sum over its inputs one after the other, however many rows there are: a row
gives the same bits alone and among others. */

#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define LANES 16
#define ROWS 4
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

enum { FLOAT32 = 1, BFLOAT16 = 2, INT8 = 4 };  /* numbers a word */
#define ZERO 128  /* what stands for 0 in a row of bytes */

typedef struct {
    const uint32_t *weight;
    const float *scale;       /* with INT8, of each output */
    const int32_t *sums;      /* with INT8, of the weights of each output */
    int32_t inputs, outputs;  /* outputs padded to whole panels */
} Linear;

typedef struct {
    const float *attention_norm, *feed_forward_norm;
    Linear to_qkv, to_attention_out, to_gate_and_value, to_feed_forward_out;
} Block;

typedef struct {
    const Block *blocks;
    const float *norm;
    const float *cosine, *sine;  /* [positions, head_width / 2] */
    int32_t layers, width, heads, inner, kind;
} Model;

typedef struct {
    uint32_t *keys;    /* [layers, sequences, heads, length / PANEL, stride, PANEL] numbers */
    uint32_t *values;  /* [layers, sequences, heads, length, stride] numbers */
    int32_t sequences, length, stride, kind;  /* stride: head width in whole panels */
} Cache;

typedef struct {
    float *normed, *wide, *narrow, *scores;  /* [rows, width or inner], [rows, most outputs], ... */
    uint8_t *bytes;                          /* [ROWS, most inputs] */
} Workspace;

int lanes(void) { return LANES; }

/* Numbers `part * LANES ...` of the words in a vector. */
INLINE floats unpack(words packed, int kind, int part) {
    if (kind == FLOAT32) return (floats)packed;
    return part ? (floats)(packed & 0xffff0000u) : (floats)(packed << 16);
}

INLINE floats unpack_at(const uint32_t *from, int kind, int v) {
    return unpack(*(const words *)(from + v / kind * LANES), kind, v % kind);
}

INLINE float total(floats v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

/* Add one input of a panel to the outputs of `rows` rows. */
INLINE void add_input(floats sums[ROWS][VECTORS], const uint32_t *panel, int kind, const float *x,
                      int inputs, int rows) {
    floats weight[VECTORS];
    UNROLL for (int v = 0; v < VECTORS; v++) weight[v] = unpack_at(panel, kind, v);
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++) sums[row][v] += weight[v] * x[(long)row * inputs];
}

/* One panel's outputs for `rows` rows; its inputs lie `stride` words apart. */
INLINE void tile(const uint32_t *panel, int kind, int stride, const float *x, int inputs, float *y,
                 int outputs, int rows) {
    floats sums[ROWS][VECTORS] = {0};
    for (int k = 0; k < inputs; k++) add_input(sums, panel + (long)k * stride, kind, x + k, inputs, rows);
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++)
            *(floats *)(y + (long)row * outputs + v * LANES) = sums[row][v];
}

/* The same for one row, as two sums, of even and of odd inputs: neither waits for the other. */
INLINE void tile_of_one(const uint32_t *panel, int kind, int stride, const float *x, int inputs, float *y) {
    floats even[ROWS][VECTORS] = {0}, odd[ROWS][VECTORS] = {0};
    int k = 0;
    for (; k + 2 <= inputs; k += 2) {
        add_input(even, panel + (long)k * stride, kind, x + k, 0, 1);
        add_input(odd, panel + (long)(k + 1) * stride, kind, x + k + 1, 0, 1);
    }
    if (k < inputs) add_input(even, panel + (long)k * stride, kind, x + k, 0, 1);
    UNROLL for (int v = 0; v < VECTORS; v++) *(floats *)(y + v * LANES) = even[0][v] + odd[0][v];
}

INLINE void multiply(const Linear *linear, int kind, const float *x, int rows, float *y) {
    const int inputs = linear->inputs, outputs = linear->outputs;
    for (int n = 0; n < outputs; n += PANEL) {
        const uint32_t *panel = linear->weight + (long)n / kind * inputs;
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            tile(panel, kind, PANEL / kind, x + (long)row * inputs, inputs, y + (long)row * outputs + n, outputs, ROWS);
        for (; row < rows; row++)
            tile(panel, kind, PANEL / kind, x + (long)row * inputs, inputs, y + (long)row * outputs + n, outputs, 1);
    }
}

/* Add the products of four bytes with four weights, in each lane. */
INLINE ints add_products(ints sums, words bytes, words weights) {
#if defined(__AVX512VNNI__)
    return (ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes, (__m512i)weights);
#elif defined(__AVX512BW__)
    __m512i pairs = _mm512_maddubs_epi16((__m512i)bytes, (__m512i)weights);
    return sums + (ints)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(__AVX2__) && !defined(__AVX512F__)
    __m256i pairs = _mm256_maddubs_epi16((__m256i)bytes, (__m256i)weights);
    return sums + (ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    for (int i = 0; i < 32; i += 8)
        sums += (ints)((bytes >> i) & 0xff) * ((ints)(weights << (24 - i)) >> 24);
    return sums;
#endif
}

INLINE void tile_of_bytes(const Linear *linear, long n, const uint8_t *x, const float *scales, float *y,
                          int rows) {
    const int stride = (linear->inputs + 3) / 4 * 4;
    const uint32_t *panel = linear->weight + n * stride / 4;
    ints sums[ROWS][VECTORS] = {0};
    for (int k = 0; k < stride; k += 4, panel += PANEL)
        UNROLL for (int row = 0; row < rows; row++) {
            words four = (words){0} + *(const uint32_t *)(x + (long)row * stride + k);
            UNROLL for (int v = 0; v < VECTORS; v++)
                sums[row][v] = add_products(sums[row][v], four, *(const words *)(panel + v * LANES));
        }
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            const long at = n + v * LANES;
            ints sum = sums[row][v] - ZERO * *(const ints *)(linear->sums + at);
            *(floats *)(y + (long)row * linear->outputs + at) =
                __builtin_convertvector(sum, floats) * *(const floats *)(linear->scale + at) * scales[row];
        }
}

/* A row to bytes around ZERO; gives what one step of them stands for. */
static float round_row(const float *x, int inputs, uint8_t *bytes) {
    float most = 1e-30f;
    for (int k = 0; k < inputs; k++) most = __builtin_fabsf(x[k]) > most ? __builtin_fabsf(x[k]) : most;
    for (int k = 0; k < inputs; k++) bytes[k] = (uint8_t)(int)(x[k] * (127 / most) + (ZERO + 0.5f));
    for (int k = inputs; k % 4; k++) bytes[k] = ZERO;
    return most / 127;
}

static void multiply_bytes(const Linear *linear, const float *x, int rows, float *y, uint8_t *bytes) {
    const int inputs = linear->inputs, stride = (inputs + 3) / 4 * 4;
    for (int row = 0; row < rows; row += ROWS) {
        const int count = rows - row < ROWS ? rows - row : ROWS;
        float scales[ROWS];
        for (int i = 0; i < count; i++)
            scales[i] = round_row(x + (long)(row + i) * inputs, inputs, bytes + (long)i * stride);
        float *to = y + (long)row * linear->outputs;
        for (long n = 0; n < linear->outputs; n += PANEL)
            if (count == ROWS) tile_of_bytes(linear, n, bytes, scales, to, ROWS);
            else for (int i = 0; i < count; i++)
                tile_of_bytes(linear, n, bytes + (long)i * stride, scales + i, to + (long)i * linear->outputs, 1);
    }
}

/* x [rows, inputs] to y [rows, outputs]. */
void apply(const Linear *linear, int kind, const float *x, int rows, float *y, uint8_t *bytes) {
    if (kind == FLOAT32) multiply(linear, FLOAT32, x, rows, y);
    if (kind == BFLOAT16) multiply(linear, BFLOAT16, x, rows, y);
    if (kind == INT8) multiply_bytes(linear, x, rows, y, bytes);
}

INLINE floats larger(floats a, floats b) {
    ints which = a > b;
    return (floats)(((ints)a & which) | ((ints)b & ~which));
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

static void normalize(const float *x, const float *scale, int width, float *y) {
    floats sums = {0};
    float sum = 0;
    int i = 0;
    for (; i + LANES <= width; i += LANES) sums += *(const floats *)(x + i) * *(const floats *)(x + i);
    for (; i < width; i++) sum += x[i] * x[i];
    float factor = 1 / __builtin_sqrtf((total(sums) + sum) / width + 1e-6f);
    for (i = 0; i < width; i++) y[i] = x[i] * factor * scale[i];
}

/* Round to nearest even, as torch does. */
static uint16_t to_bfloat16(float x) {
    union { float f; uint32_t u; } bits = {x};
    return (bits.u + 0x7fff + ((bits.u >> 16) & 1)) >> 16;
}

/* Write number i of a stretch of words. */
INLINE void store(uint32_t *to, int kind, long i, float x) {
    long group = i / (kind * LANES), part = i / LANES % kind, lane = i % LANES;
    if (kind == FLOAT32) ((float *)to)[i] = x;
    else ((uint16_t *)to)[(group * LANES + lane) * 2 + part] = to_bfloat16(x);
}

/* Keys and values of one head of one row become part of the cache at `position`; query and key turn. */
static void remember(const Model *model, const Cache *cache, long head, int position, float *query,
                     float *key, const float *value) {
    const int half = model->width / model->heads / 2;
    const float *cosine = model->cosine + (long)position * half, *sine = model->sine + (long)position * half;
    for (int i = 0; i < half; i++) {
        float q = query[i], k = key[i];
        query[i] = q * cosine[i] - query[i + half] * sine[i];
        query[i + half] = query[i + half] * cosine[i] + q * sine[i];
        key[i] = k * cosine[i] - key[i + half] * sine[i];
        key[i + half] = key[i + half] * cosine[i] + k * sine[i];
    }
    const long size = (long)cache->length * cache->stride / cache->kind;
    uint32_t *keys = cache->keys + head * size + (long)(position / PANEL) * cache->stride * PANEL / cache->kind;
    uint32_t *values = cache->values + head * size + (long)position * cache->stride / cache->kind;
    for (int i = 0; i < 2 * half; i++) {
        store(keys + (long)i * PANEL / cache->kind, cache->kind, position % PANEL, key[i]);
        store(values, cache->kind, i, value[i]);
    }
}

/* Attention of one head of one row over the first `count` positions. */
INLINE void attend(const Cache *cache, int kind, long head, int count, int width, const float *query,
                   float *scores, float *out) {
    const long size = (long)cache->length * cache->stride / kind;
    const uint32_t *keys = cache->keys + head * size, *values = cache->values + head * size;
    const float scale = 1 / __builtin_sqrtf(width);
    for (int n = 0; n < count; n += PANEL, keys += (long)cache->stride * PANEL / kind)
        tile_of_one(keys, kind, PANEL / kind, query, width, scores + n);
    for (int n = count; n % LANES; n++) scores[n] = -1e30f;
    floats highest = *(floats *)scores, sums = {0};
    for (int n = LANES; n < count; n += LANES) highest = larger(highest, *(floats *)(scores + n));
    float most = highest[0];
    for (int i = 1; i < LANES; i++) most = highest[i] > most ? highest[i] : most;
    for (int n = 0; n < count; n += LANES) {
        floats weight = exponential((*(floats *)(scores + n) - most) * scale);
        *(floats *)(scores + n) = weight;
        sums += weight;
    }
    const float share = 1 / total(sums);
    for (int i = 0; i < cache->stride; i += PANEL) {
        float panel[PANEL];
        tile_of_one(values + i / kind, kind, cache->stride / kind, scores, count, panel);
        for (int k = i; k < width && k < i + PANEL; k++) out[k] = panel[k - i] * share;
    }
}

static void add(float *x, int width, const float *y, int outputs, int rows) {
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < width; i++) x[(long)row * width + i] += y[(long)row * outputs + i];
}

static void feed_forward(const Block *block, const Model *model, float *x, int rows, Workspace w) {
    const int width = model->width, inner = model->inner, outputs = block->to_gate_and_value.outputs;
    for (int row = 0; row < rows; row++)
        normalize(x + (long)row * width, block->feed_forward_norm, width, w.normed + (long)row * width);
    apply(&block->to_gate_and_value, model->kind, w.normed, rows, w.wide, w.bytes);
    for (int row = 0; row < rows; row++) {
        const float *gate = w.wide + (long)row * outputs, *value = gate + inner;
        for (int i = 0; i < inner; i += LANES) {  /* inner is a multiple of 32 */
            floats g = *(const floats *)(gate + i);
            *(floats *)(w.normed + (long)row * inner + i) =
                g / (1.0f + exponential(-g)) * *(const floats *)(value + i);
        }
    }
    apply(&block->to_feed_forward_out, model->kind, w.normed, rows, w.narrow, w.bytes);
    add(x, width, w.narrow, block->to_feed_forward_out.outputs, rows);
}

static void attention(const Block *block, const Model *model, const Cache *cache, int layer, float *x,
                      int rows, const int32_t *sequences, const int32_t *positions, Workspace w) {
    const int width = model->width, heads = model->heads, each = width / heads;
    const int outputs = block->to_qkv.outputs;
    for (int row = 0; row < rows; row++)
        normalize(x + (long)row * width, block->attention_norm, width, w.normed + (long)row * width);
    apply(&block->to_qkv, model->kind, w.normed, rows, w.wide, w.bytes);
    for (int row = 0; row < rows; row++)
        for (int head = 0; head < heads; head++) {
            float *query = w.wide + (long)row * outputs + head * each;
            long place = ((long)layer * cache->sequences + sequences[row]) * heads + head;
            remember(model, cache, place, positions[row], query, query + width, query + 2 * width);
        }
    for (int row = 0; row < rows; row++)
        for (int head = 0; head < heads; head++) {
            const float *query = w.wide + (long)row * outputs + head * each;
            float *out = w.normed + (long)row * width + head * each;
            long place = ((long)layer * cache->sequences + sequences[row]) * heads + head;
            int count = positions[row] + 1;
            if (cache->kind == FLOAT32) attend(cache, FLOAT32, place, count, each, query, w.scores, out);
            else attend(cache, BFLOAT16, place, count, each, query, w.scores, out);
        }
    apply(&block->to_attention_out, model->kind, w.normed, rows, w.narrow, w.bytes);
    add(x, width, w.narrow, block->to_attention_out.outputs, rows);
}

/* Read x [rows, width]: row i comes at `positions[i]` of sequence `sequences[i]`. Earlier positions
are in the cache, or are rows of the same call. Features after the last norm replace x. */
void step(const Model *model, const Cache *cache, float *x, int rows, const int32_t *sequences,
          const int32_t *positions, Workspace w) {
    for (int layer = 0; layer < model->layers; layer++) {
        attention(model->blocks + layer, model, cache, layer, x, rows, sequences, positions, w);
        feed_forward(model->blocks + layer, model, x, rows, w);
    }
    for (int row = 0; row < rows; row++)
        normalize(x + (long)row * model->width, model->norm, model->width, x + (long)row * model->width);
}
