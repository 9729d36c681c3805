/* One step of a causal transformer on one core; cpu.py packs what it reads, and calls it. */

#include "lanes.h"
#include "product.h"
#include "attention.h"

typedef struct {
    const float *attention_norm, *feed_forward_norm;
    Linear to_qkv, to_attention_out, to_gate_and_value, to_feed_forward_out;
} Block;

typedef struct {
    const Block *blocks;
    const float *norm;
    const float *cosine, *sine; /* [positions, head_width / 2] */
    int32_t layers, width, inner, kind;
} Model;

typedef struct {
    float *normed, *wide, *narrow; /* [CHUNK, width or inner], [CHUNK, most outputs], ... */
    float *scores;                 /* [heads, blocks * PANEL] */
    uint8_t *bytes;                /* [CHUNK, most inputs] */
} Workspace;

int lanes(void) { return LANES; }

static void normalize(const float *x, const float *scale, int width, float *y) {
    floats sums = {0};
    float sum = 0;
    int i = 0;
    for (; i + LANES <= width; i += LANES) sums += *(const floats *)(x + i) * *(const floats *)(x + i);
    for (; i < width; i++) sum += x[i] * x[i];
    const float factor = 1 / __builtin_sqrtf((total(sums) + sum) / width + 1e-6f);
    for (i = 0; i < width; i++) y[i] = x[i] * factor * scale[i];
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
        for (int i = 0; i < inner; i += LANES) { /* inner is a multiple of 32 */
            const floats g = *(const floats *)(gate + i);
            *(floats *)(w.normed + (long)row * inner + i) =
                g / (1.0f + exponential(-g)) * *(const floats *)(value + i);
        }
    }
    apply(&block->to_feed_forward_out, model->kind, w.normed, rows, w.narrow, w.bytes);
    add(x, width, w.narrow, block->to_feed_forward_out.outputs, rows);
}

/* Turn the heads of a query or key [heads, head_width] to their position (Su et al. 2021). */
static void rotate(const Model *model, int position, float *x, int heads, int head_width) {
    const int half = head_width / 2;
    const float *cosine = model->cosine + (long)position * half, *sine = model->sine + (long)position * half;
    for (int head = 0; head < heads; head++, x += head_width)
        for (int i = 0; i < half; i++) {
            const float a = x[i], b = x[i + half];
            x[i] = a * cosine[i] - b * sine[i];
            x[i + half] = b * cosine[i] + a * sine[i];
        }
}

INLINE void read_past(const Model *model, const Cache *cache, int kind, int layer, int rows,
                      const int32_t *sequences, const int32_t *positions, int outputs, Workspace w) {
    const int width = model->width;
    for (int row = 0; row < rows; row++) {
        const long place = (long)layer * cache->sequences + sequences[row];
        float *query = w.wide + (long)row * outputs, *key = query + width;
        rotate(model, positions[row], query, 2 * cache->heads, cache->head_width);
        remember(cache, kind, place, positions[row], key, key + width);
    }
    for (int row = 0; row < rows; row++) {
        const long place = (long)layer * cache->sequences + sequences[row];
        attend(cache, kind, place, positions[row] + 1, w.wide + (long)row * outputs, w.scores,
               w.normed + (long)row * width, w.bytes);
    }
}

static void attention(const Block *block, const Model *model, const Cache *cache, int layer, float *x,
                      int rows, const int32_t *sequences, const int32_t *positions, Workspace w) {
    const int width = model->width, outputs = block->to_qkv.outputs;
    for (int row = 0; row < rows; row++)
        normalize(x + (long)row * width, block->attention_norm, width, w.normed + (long)row * width);
    apply(&block->to_qkv, model->kind, w.normed, rows, w.wide, w.bytes);
    if (cache->kind == FLOAT32) read_past(model, cache, FLOAT32, layer, rows, sequences, positions, outputs, w);
    if (cache->kind == BFLOAT16) read_past(model, cache, BFLOAT16, layer, rows, sequences, positions, outputs, w);
    if (cache->kind == INT8) read_past(model, cache, INT8, layer, rows, sequences, positions, outputs, w);
    apply(&block->to_attention_out, model->kind, w.normed, rows, w.narrow, w.bytes);
    add(x, width, w.narrow, block->to_attention_out.outputs, rows);
}

/* Read x [rows, width], CHUNK rows at most: row i comes at `positions[i]` of sequence `sequences[i]`.
Earlier positions are in the cache, or are rows of the same call. Features after the last norm
replace x. */
void step(const Model *model, const Cache *cache, float *x, int rows, const int32_t *sequences,
          const int32_t *positions, Workspace w) {
    for (int layer = 0; layer < model->layers; layer++) {
        attention(model->blocks + layer, model, cache, layer, x, rows, sequences, positions, w);
        feed_forward(model->blocks + layer, model, x, rows, w);
    }
    for (int row = 0; row < rows; row++)
        normalize(x + (long)row * model->width, model->norm, model->width, x + (long)row * model->width);
}
