/* What has been read: keys and values, PANEL positions of one head a block, the heads of a sequence
side by side, so that one step reads two streams of memory.

Keys of a block are a matrix whose outputs are the positions, a panel as product.h has it. Values lie
position by position, in whole panels, their numbers packed; in int8 they are within +-127, and the
scales of the positions follow. */

typedef struct {
    uint32_t *keys, *values; /* [layers, sequences, blocks, heads, words of a block] */
    int32_t sequences, blocks, heads, head_width, kind;
} Cache;

INLINE int value_words(const Cache *cache) { /* of one position */
    return (cache->head_width + PANEL - 1) / PANEL * PANEL / cache->kind;
}

/* Words of one block of keys, and of values. */
long key_block(const Cache *cache) { return panel_words(cache->kind, cache->head_width); }

long value_block(const Cache *cache) {
    return (long)value_words(cache) * PANEL + (cache->kind == INT8 ? PANEL : 0);
}

/* The block of a position, for the first head. `place` is layer * sequences + sequence. */
INLINE long first_block(const Cache *cache, long place, int position) {
    return (place * cache->blocks + position / PANEL) * cache->heads;
}

static void remember_bytes(const Cache *cache, uint32_t *keys, uint32_t *values, int within,
                           const float *key, const float *value) {
    const int width = cache->head_width, row = value_words(cache);
    const float k = magnitude(key, width) / MOST, v = magnitude(value, width) / 127;
    int8_t *to = (int8_t *)(keys + within);
    int sum = 0;
    for (int i = 0; i < in_bytes(width); i++) { /* the room may hold anything before */
        const int number = i < width ? rounded(key[i] / k) : 0;
        to[(long)i / 4 * PANEL * 4 + i % 4] = number;
        sum += number;
    }
    uint32_t *notes = keys + (long)in_bytes(width) / 4 * PANEL;
    ((float *)notes)[within] = k;
    ((int32_t *)notes)[PANEL + within] = sum;
    for (int i = 0; i < width; i++) pack(values + (long)within * row, INT8, i, rounded(value[i] / v));
    ((float *)values)[(long)PANEL * row + within] = v;
}

/* Key and value [heads, head_width] of one row become part of the cache. */
INLINE void remember(const Cache *cache, int kind, long place, int position, const float *key,
                     const float *value) {
    const int width = cache->head_width, within = position % PANEL;
    for (int head = 0; head < cache->heads; head++, key += width, value += width) {
        const long block = first_block(cache, place, position) + head;
        uint32_t *keys = cache->keys + block * key_block(cache);
        uint32_t *values = cache->values + block * value_block(cache);
        if (kind == INT8) {
            remember_bytes(cache, keys, values, within, key, value);
            continue;
        }
        for (int i = 0; i < width; i++) {
            pack(keys + (long)i * PANEL / kind, kind, within, key[i]);
            pack(values + (long)within * value_words(cache), kind, i, value[i]);
        }
    }
}

/* Products of the query [heads, head_width] of one row with the first `count` keys:
[heads, blocks * PANEL]. */
INLINE void score(const Cache *cache, int kind, long place, int count, const float *query,
                  float *scores, uint8_t *bytes) {
    const int width = cache->head_width, heads = cache->heads, stride = in_bytes(width);
    float steps[heads];
    if (kind == INT8)
        for (int head = 0; head < heads; head++)
            steps[head] = round_row(query + head * width, width, bytes + head * stride);
    const uint32_t *keys = cache->keys + first_block(cache, place, 0) * key_block(cache);
    for (int n = 0; n < count; n += PANEL)
        for (int head = 0; head < heads; head++, keys += key_block(cache)) {
            float *to = scores + (long)head * cache->blocks * PANEL + n;
            if (kind == INT8) tile_of_bytes(keys, bytes + head * stride, width, steps + head, to, 0, 1);
            else tile_of_one(keys, kind, PANEL / kind, query + head * width, width, to);
        }
}

/* Scores of one head to weights; gives what their sum must be divided by. */
INLINE float weigh(float *scores, int count, int head_width) {
    const float scale = 1 / __builtin_sqrtf(head_width);
    for (int n = count; n % LANES; n++) scores[n] = -1e30f;
    floats highest = *(floats *)scores, sums = {0};
    for (int n = LANES; n < count; n += LANES) highest = larger(highest, *(floats *)(scores + n));
    const float most = largest(highest);
    for (int n = 0; n < count; n += LANES) {
        const floats weight = exponential((*(floats *)(scores + n) - most) * scale);
        *(floats *)(scores + n) = weight;
        sums += weight;
    }
    return total(sums);
}

/* Add the values of one block, each times its weight, to `out`. */
INLINE void mix(const uint32_t *values, int kind, int row, int width, float *weights, int count, float *out) {
    float sums[PANEL];
    if (kind == INT8) /* what lies past `count` is not read */
        for (int n = 0; n < PANEL; n++) weights[n] *= ((const float *)values)[(long)PANEL * row + n];
    for (int i = 0; i < width; i += PANEL) {
        tile_of_one(values + i / kind, kind, row, weights, count, sums);
        for (int k = i; k < width && k < i + PANEL; k++) out[k] += sums[k - i];
    }
}

/* Attention of one row over the first `count` positions: out [heads, head_width]. */
INLINE void attend(const Cache *cache, int kind, long place, int count, const float *query,
                   float *scores, float *out, uint8_t *bytes) {
    const int width = cache->head_width, heads = cache->heads;
    const long length = (long)cache->blocks * PANEL;
    float whole[heads];
    score(cache, kind, place, count, query, scores, bytes);
    for (int head = 0; head < heads; head++) whole[head] = weigh(scores + head * length, count, width);
    for (int i = 0; i < heads * width; i++) out[i] = 0;
    const uint32_t *values = cache->values + first_block(cache, place, 0) * value_block(cache);
    for (int n = 0; n < count; n += PANEL)
        for (int head = 0; head < heads; head++, values += value_block(cache)) {
            const int part = count - n < PANEL ? count - n : PANEL;
            mix(values, kind, value_words(cache), width, scores + head * length + n, part, out + head * width);
        }
    for (int i = 0; i < heads * width; i++) out[i] /= whole[i / width];
}
