/* Matrices times rows.

A matrix lies in panels of PANEL outputs, a panel input by input: one stream of memory. In int8 a word
holds four inputs of one output, within +-63, and is multiplied with four bytes of a row that is rounded
on the spot to 63 steps on either side of ZERO: sums of four products fit the 16 bits that x86 adds
them in. Such a panel ends with the scale, then with the sum of the weights, of each output.

Every output is the sum over its inputs in one order, however many rows there are: a row gives the
same bits alone and among others. */

#define CHUNK 64 /* rows that are read at once at most */
#define ZERO 64  /* what stands for 0 in a row of bytes */
#define MOST 63

typedef struct {
    const uint32_t *weight;
    int32_t inputs, outputs; /* outputs padded to whole panels */
} Linear;

/* Bytes of a row of so many inputs. */
INLINE int in_bytes(int inputs) { return (inputs + 7) / 8 * 8; }

INLINE long panel_words(int kind, int inputs) {
    if (kind == INT8) return (long)in_bytes(inputs) / 4 * PANEL + 2 * PANEL;
    return (long)inputs * PANEL / kind;
}

/* Add one input of a panel to the outputs of `rows` rows. */
INLINE void add_input(floats sums[ROWS][VECTORS], const uint32_t *panel, int kind, const float *x,
                      int inputs, int rows) {
    floats weight[VECTORS];
    UNROLL for (int v = 0; v < VECTORS; v++) weight[v] = unpack_at(panel, kind, v);
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++) sums[row][v] += weight[v] * x[(long)row * inputs];
}

/* One panel's outputs for `rows` rows. */
INLINE void tile(const uint32_t *panel, int kind, const float *x, int inputs, float *y, int outputs,
                 int rows) {
    floats sums[ROWS][VECTORS] = {0};
    for (int k = 0; k < inputs; k++)
        add_input(sums, panel + (long)k * PANEL / kind, kind, x + k, inputs, rows);
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++)
            *(floats *)(y + (long)row * outputs + v * LANES) = sums[row][v];
}

/* The same for one row, as two sums, of even and of odd inputs: neither waits for the other. Inputs
lie `stride` words apart. */
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
    const uint32_t *panel = linear->weight;
    for (int n = 0; n < outputs; n += PANEL, panel += panel_words(kind, inputs)) {
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            tile(panel, kind, x + (long)row * inputs, inputs, y + (long)row * outputs + n, outputs, ROWS);
        for (; row < rows; row++)
            tile(panel, kind, x + (long)row * inputs, inputs, y + (long)row * outputs + n, outputs, 1);
    }
}

/* Add the products of eight bytes with eight weights, four in each of two words, in each lane. */
INLINE ints add_products(ints sums, const words bytes[2], const words weights[2]) {
#if defined(__AVX512VNNI__)
    sums = (ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes[0], (__m512i)weights[0]);
    return (ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes[1], (__m512i)weights[1]);
#elif defined(__AVX512BW__)
    __m512i fours = _mm512_add_epi16(_mm512_maddubs_epi16((__m512i)bytes[0], (__m512i)weights[0]),
                                     _mm512_maddubs_epi16((__m512i)bytes[1], (__m512i)weights[1]));
    return sums + (ints)_mm512_madd_epi16(fours, _mm512_set1_epi16(1));
#elif defined(__AVX2__) && !defined(__AVX512F__)
    __m256i fours = _mm256_add_epi16(_mm256_maddubs_epi16((__m256i)bytes[0], (__m256i)weights[0]),
                                     _mm256_maddubs_epi16((__m256i)bytes[1], (__m256i)weights[1]));
    return sums + (ints)_mm256_madd_epi16(fours, _mm256_set1_epi16(1));
#else
    for (int word = 0; word < 2; word++)
        for (int i = 0; i < 32; i += 8)
            sums += (ints)((bytes[word] >> i) & 0xff) * ((ints)(weights[word] << (24 - i)) >> 24);
    return sums;
#endif
}

/* One panel's outputs in int8 for `rows` rows of bytes, a step of which stands for `steps` each. */
INLINE void tile_of_bytes(const uint32_t *panel, const uint8_t *x, int inputs, const float *steps,
                          float *y, int outputs, int rows) {
    const int stride = in_bytes(inputs);
    ints sums[ROWS][VECTORS] = {0};
    for (int k = 0; k < stride; k += 8, panel += 2 * PANEL)
        UNROLL for (int row = 0; row < rows; row++) {
            const uint32_t *at = (const uint32_t *)(x + (long)row * stride + k);
            const words bytes[2] = {(words){0} + at[0], (words){0} + at[1]};
            UNROLL for (int v = 0; v < VECTORS; v++) {
                const words weights[2] = {*(const words *)(panel + v * LANES),
                                          *(const words *)(panel + PANEL + v * LANES)};
                sums[row][v] = add_products(sums[row][v], bytes, weights);
            }
        }
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < VECTORS; v++) {
            const floats scale = *(const floats *)(panel + v * LANES);
            const words of_zero = *(const words *)(panel + PANEL + v * LANES) * ZERO;
            *(floats *)(y + (long)row * outputs + v * LANES) =
                __builtin_convertvector((ints)((words)sums[row][v] - of_zero), floats) * scale * steps[row];
        }
}

/* A row to bytes around ZERO; gives what one step of them stands for. */
static float round_row(const float *x, int inputs, uint8_t *bytes) {
    const float most = magnitude(x, inputs), factor = MOST / most;
    for (int k = 0; k < inputs; k++) bytes[k] = (uint8_t)(rounded(x[k] * factor) + ZERO);
    for (int k = inputs; k < in_bytes(inputs); k++) bytes[k] = ZERO;
    return most / MOST;
}

static void multiply_bytes(const Linear *linear, const float *x, int rows, float *y, uint8_t *bytes) {
    const int inputs = linear->inputs, outputs = linear->outputs, stride = in_bytes(inputs);
    float steps[CHUNK];
    for (int row = 0; row < rows; row++)
        steps[row] = round_row(x + (long)row * inputs, inputs, bytes + (long)row * stride);
    const uint32_t *panel = linear->weight;
    for (int n = 0; n < outputs; n += PANEL, panel += panel_words(INT8, inputs)) {
        const uint8_t *from = bytes;
        float *to = y + n;
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS, from += ROWS * stride, to += (long)ROWS * outputs)
            tile_of_bytes(panel, from, inputs, steps + row, to, outputs, ROWS);
        for (; row < rows; row++, from += stride, to += outputs)
            tile_of_bytes(panel, from, inputs, steps + row, to, outputs, 1);
    }
}

/* x [rows, inputs] to y [rows, outputs], CHUNK rows at most; `bytes` is room for them. */
void apply(const Linear *linear, int kind, const float *x, int rows, float *y, uint8_t *bytes) {
    if (kind == FLOAT32) multiply(linear, FLOAT32, x, rows, y);
    if (kind == BFLOAT16) multiply(linear, BFLOAT16, x, rows, y);
    if (kind == INT8) multiply_bytes(linear, x, rows, y, bytes);
}
