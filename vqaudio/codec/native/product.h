/* Matrices times rows.

A matrix lies in panels of WIDE outputs, the last filled up with zeros, a panel input by input. Rows
may overlap: those of a convolution start `step` numbers apart and are as long as its kernel, so that
nothing is copied out to multiply.

Every output is one chain of fused multiply-adds over its inputs in their order, begun with its bias:
a row gives the same bits alone and among others. */

#define ROWS (LANES == 16 ? 12 : 6) /* whose sums fit in registers */
#define BLOCK 96                    /* rows that stay in the second cache from one product to the next */
#define DEPTH 256                   /* inputs of a panel that stay in the first cache */

typedef struct {
    const float *weight, *bias; /* bias filled up as the weights */
    int32_t inputs, outputs;
} Matrix;

/* Add `depth` inputs of one panel to the sums of `rows` rows, or to the bias where there is one. */
INLINE void tile(const float *panel, int depth, const float *x, long step, const float *bias, float *y,
                 long y_step, int rows) {
    floats sums[ROWS][PARTS];
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int part = 0; part < PARTS; part++)
            sums[row][part] = *(const floats *)((bias ? bias : y + row * y_step) + part * LANES);
    for (int k = 0; k < depth; k++, panel += WIDE) {
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

static void tiles(const float *panel, int depth, const float *x, long step, const float *bias, float *y,
                  long y_step, int rows) {
    while (rows) {
        const int now = rows >= ROWS ? ROWS : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
        if (now == ROWS) tile(panel, depth, x, step, bias, y, y_step, ROWS);
        else if (now == 4) tile(panel, depth, x, step, bias, y, y_step, 4);
        else if (now == 2) tile(panel, depth, x, step, bias, y, y_step, 2);
        else tile(panel, depth, x, step, bias, y, y_step, 1);
        rows -= now, x += now * step, y += now * y_step;
    }
}

/* x to y [rows, outputs], BLOCK rows at most. */
static void multiply_block(const Matrix *matrix, const float *x, long step, int rows, float *y) {
    const int inputs = matrix->inputs, outputs = matrix->outputs;
    for (int k = 0; k < inputs; k += DEPTH) {
        const int depth = inputs - k < DEPTH ? inputs - k : DEPTH;
        for (int n = 0; n < outputs; n += WIDE) {
            const float *panel = matrix->weight + (long)n * inputs + (long)k * WIDE;
            const float *bias = k ? 0 : matrix->bias + n;
            if (n + WIDE <= outputs) {
                tiles(panel, depth, x + k, step, bias, y + n, outputs, rows);
                continue;
            }
            float whole[BLOCK * WIDE]; /* a panel whose last outputs are none */
            for (int row = 0; row < rows; row++)
                for (int i = 0; i < outputs - n; i++) whole[row * WIDE + i] = y[(long)row * outputs + n + i];
            tiles(panel, depth, x + k, step, bias, whole, WIDE, rows);
            for (int row = 0; row < rows; row++)
                for (int i = 0; i < outputs - n; i++) y[(long)row * outputs + n + i] = whole[row * WIDE + i];
        }
    }
}

/* Rows of `inputs` numbers, `step` apart, to y [rows, outputs]. */
void multiply(const Matrix *matrix, const float *x, long step, long rows, float *y) {
    for (long row = 0; row < rows; row += BLOCK)
        multiply_block(matrix, x + row * step, step, rows - row < BLOCK ? rows - row : BLOCK,
                       y + row * matrix->outputs);
}
