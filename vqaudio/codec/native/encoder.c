/* What an encoder does with rows of frames [rows, channels]; row_encoder.py has the order of it. */

#include "lanes.h"
#include "product.h"
#include "spectrum.h"

typedef struct {
    const float *gain, *shift; /* [channels] */
    float epsilon;
    int32_t channels;
} Norm;

typedef struct {
    Norm norm;
    Matrix conv, mix;
    int32_t kernel, left;
} Unit;

/* WIDE numbers from place i on, of which those past the end are `rest`. */
INLINE void take(const float *x, int i, int count, float rest, floats part[PARTS]) {
    float last[WIDE];
    if (i + WIDE > count)
        for (int k = 0; k < WIDE; k++) last[k] = i + k < count ? x[i + k] : rest;
    const float *from = i + WIDE > count ? last : x + i;
    UNROLL for (int p = 0; p < PARTS; p++) part[p] = *(const floats *)(from + p * LANES);
}

/* Sum of x - less, or of its squares. */
INLINE float sum_of(const float *x, int count, float less, int squared) {
    floats sums[PARTS] = {0}, part[PARTS];
    for (int i = 0; i < count; i += WIDE) {
        take(x, i, count, less, part);
        UNROLL for (int p = 0; p < PARTS; p++) {
            part[p] -= less;
            if (squared) sums[p] = fused(part[p], part[p], sums[p]);
            else sums[p] += part[p];
        }
    }
    return total(sums);
}

/* Each row [channels] to mean 0 and variance 1, then times the gain plus the shift. */
void normalize(const Norm *norm, const float *x, long rows, float *y) {
    const int channels = norm->channels;
    for (long row = 0; row < rows; row++, x += channels, y += channels) {
        const float mean = sum_of(x, channels, 0, 0) / channels;
        const float factor = 1 / __builtin_sqrtf(sum_of(x, channels, mean, 1) / channels + norm->epsilon);
        for (int i = 0; i < channels; i++)
            y[i] = __builtin_fmaf((x[i] - mean) * factor, norm->gain[i], norm->shift[i]);
    }
}

/* Each row to unit length. */
void shorten(float *x, long rows, int channels) {
    for (long row = 0; row < rows; row++, x += channels) {
        const float length = __builtin_sqrtf(sum_of(x, channels, 0, 1));
        for (int i = 0; i < channels; i++) x[i] /= length > 1e-12f ? length : 1e-12f;
    }
}

/* GELU of so many numbers. */
void bend(float *x, long count) {
    long i = 0;
    for (; i + LANES <= count; i += LANES) *(floats *)(x + i) = gelu(*(floats *)(x + i));
    floats last = {0};
    for (long k = i; k < count; k++) last[k - i] = x[k];
    last = gelu(last);
    for (long k = i; k < count; k++) x[k] = last[k - i];
}

/* A residual unit: x [rows + kernel - 1, channels] to y [rows, channels]; `room` is for
2 * BLOCK + kernel - 1 rows. */
void unit(const Unit *unit, const float *x, long rows, float *y, float *room) {
    const long channels = unit->norm.channels;
    for (long row = 0; row < rows; row += BLOCK, x += BLOCK * channels, y += BLOCK * channels) {
        const int count = rows - row < BLOCK ? rows - row : BLOCK;
        float *const hidden = room + (BLOCK + unit->kernel - 1) * channels;
        normalize(&unit->norm, x, count + unit->kernel - 1, room);
        multiply_block(&unit->conv, room, channels, count, hidden);
        bend(hidden, count * channels);
        multiply_block(&unit->mix, hidden, channels, count, y);
        for (long i = 0; i < count * channels; i++) y[i] += x[unit->left * channels + i];
    }
}

/* First place of the largest of so many numbers. */
static long place_of_largest(const float *x, int count) {
    float highest = x[0];
    long place = 0;
    int i = 0;
    if (count >= LANES) {
        floats most = *(const floats *)x;
        ints index, best;
        for (int lane = 0; lane < LANES; lane++) index[lane] = lane;
        for (best = index, i = LANES; i + LANES <= count; i += LANES) {
            const floats next = *(const floats *)(x + i);
            const ints better = next > most;
            index += LANES;
            most = choose(better, next, most);
            best = (index & better) | (best & ~better);
        }
        highest = most[0], place = best[0];
        for (int lane = 1; lane < LANES; lane++)
            if (most[lane] > highest || (most[lane] == highest && best[lane] < place))
                highest = most[lane], place = best[lane];
    }
    for (; i < count; i++)
        if (x[i] > highest) highest = x[i], place = i;
    return place;
}

/* The nearest code of each row of x [rows, D]: codes [rows]. Takes its vector off x and adds it to
`said`. The bias of a code is minus half its squared length; `room` is for BLOCK * K numbers. */
void quantize(const Matrix *scores, const float *vectors, long rows, float *x, float *said, int64_t *codes,
              float *room) {
    const int size = scores->outputs, width = scores->inputs;
    for (long row = 0; row < rows; row++, x += width, said += width) {
        if (row % BLOCK == 0)
            multiply_block(scores, x, width, rows - row < BLOCK ? rows - row : BLOCK, room);
        codes[row] = place_of_largest(room + row % BLOCK * size, size);
        const float *vector = vectors + codes[row] * width;
        for (int i = 0; i < width; i++) x[i] -= vector[i], said[i] += vector[i];
    }
}
