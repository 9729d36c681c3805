/* Matrices times rows.

A matrix lies in panels of WIDE outputs, the last filled up with zeros, a panel input by input. Rows
may overlap: those of a convolution start `step` numbers apart and are as long as its kernel, so that
nothing is copied out to multiply.

Every output is one chain of fused multiply-adds over its inputs in their order, begun with its bias:
a row gives the same bits alone and among others. */

#define ROWS (LANES == 16 ? 12 : 6) /* whose sums fit in registers */
#define BLOCK 96                    /* rows that stay in the second cache from one product to the next */
#define AHEAD 64                    /* inputs that weights are fetched ahead */

typedef struct {
    const float *weight, *bias; /* bias filled up as the weights */
    int32_t inputs, outputs;
} Matrix;

/* One panel's outputs for `rows` rows. */
INLINE void tile(const float *panel, const float *bias, int inputs, const float *x, long step, float *y,
                 long y_step, int rows) {
    floats sums[ROWS][PARTS];
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int part = 0; part < PARTS; part++) sums[row][part] = *(const floats *)(bias + part * LANES);
    for (int k = 0; k < inputs; k++, panel += WIDE) {
        __builtin_prefetch(panel + AHEAD * WIDE);
        floats weight[PARTS];
        UNROLL for (int part = 0; part < PARTS; part++) weight[part] = *(const floats *)(panel + part * LANES);
        UNROLL for (int row = 0; row < rows; row++)
            UNROLL for (int part = 0; part < PARTS; part++)
                sums[row][part] = fused(all(x[row * step + k]), weight[part], sums[row][part]);
    }
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int part = 0; part < PARTS; part++)
            *(floats *)(y + row * y_step + part * LANES) = sums[row][part];
}

#define TILE(rows) \
    case rows: tile(panel, bias, inputs, x, step, y, y_step, rows); break;

static void tiles(const float *panel, const float *bias, int inputs, const float *x, long step, float *y,
                  long y_step, int rows) {
    while (rows) {
        /* A tile of few rows waits for its sums: the last two share what is left. */
        const int now = rows <= ROWS ? rows : rows < 2 * ROWS ? (rows + 1) / 2 : ROWS;
        switch (now) {
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if LANES == 16
            TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
        }
        rows -= now, x += now * step, y += now * y_step;
    }
}

/* x to y [rows, outputs], BLOCK rows at most. */
static void multiply_block(const Matrix *matrix, const float *x, long step, int rows, float *y) {
    const int inputs = matrix->inputs, outputs = matrix->outputs;
    for (int n = 0; n < outputs; n += WIDE) {
        const float *panel = matrix->weight + (long)n * inputs, *bias = matrix->bias + n;
        if (n + WIDE <= outputs) {
            tiles(panel, bias, inputs, x, step, y + n, outputs, rows);
            continue;
        }
        float whole[BLOCK * WIDE]; /* a panel whose last outputs are none */
        tiles(panel, bias, inputs, x, step, whole, WIDE, rows);
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < outputs - n; i++) y[(long)row * outputs + n + i] = whole[row * WIDE + i];
    }
}

/* Rows of `inputs` numbers, `step` apart, to y [rows, outputs]. */
void multiply(const Matrix *matrix, const float *x, long step, long rows, float *y) {
    for (long row = 0; row < rows; row += BLOCK)
        multiply_block(matrix, x + row * step, step, rows - row < BLOCK ? rows - row : BLOCK,
                       y + row * matrix->outputs);
}
