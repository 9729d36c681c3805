/* Log-mel spectra, a frame a lane: no frame's bits depend on another's.

The transform of n real samples is that of n / 2 complex ones, by Stockham's passes of radix 2, 3, 4 and
5, and a last pass that parts what came of even samples from what came of odd ones. */

typedef struct {
    const float *window, *roots; /* [n]; cosine and sine of -2 pi k / n, [n, 2] */
    const float *filters;        /* [bands, n / 2 + 1] */
    const int32_t *spans;        /* first bin of each filter and the one after its last, [bands, 2] */
    float floor, shift, scale;   /* what comes of a mel magnitude x is (log(max(x, floor)) + shift) / scale */
    int32_t n, hop, bands;
} Mel;

typedef struct {
    floats re, im;
} Pair;

INLINE Pair plus(Pair a, Pair b) { return (Pair){a.re + b.re, a.im + b.im}; }

INLINE Pair minus(Pair a, Pair b) { return (Pair){a.re - b.re, a.im - b.im}; }

INLINE Pair times(Pair a, const float *by) {
    const floats re = all(by[0]), im = all(by[1]);
    return (Pair){fused(a.re, re, -(a.im * im)), fused(a.re, im, a.im * re)};
}

/* Transform of so many numbers in place; `roots` are those of this radix, `spacing` pairs apart. */
INLINE void butterfly(Pair *x, int radix, const float *roots, long spacing) {
    if (radix == 2) {
        const Pair sum = plus(x[0], x[1]);
        x[1] = minus(x[0], x[1]);
        x[0] = sum;
    } else if (radix == 4) {
        const Pair a = plus(x[0], x[2]), b = minus(x[0], x[2]), c = plus(x[1], x[3]), d = minus(x[1], x[3]);
        x[0] = plus(a, c);
        x[1] = (Pair){b.re + d.im, b.im - d.re};
        x[2] = minus(a, c);
        x[3] = (Pair){b.re - d.im, b.im + d.re};
    } else { /* odd: numbers k and radix - k have conjugate roots */
        Pair sums[2], differences[2], first = x[0];
        UNROLL for (int k = 1; k <= radix / 2; k++) {
            sums[k - 1] = plus(x[k], x[radix - k]);
            differences[k - 1] = minus(x[k], x[radix - k]);
            x[0] = plus(x[0], sums[k - 1]);
        }
        UNROLL for (int j = 1; j <= radix / 2; j++) {
            Pair even = first, odd = {{0}, {0}};
            UNROLL for (int k = 1; k <= radix / 2; k++) {
                const float *root = roots + 2 * spacing * (j * k % radix);
                even.re = fused(sums[k - 1].re, all(root[0]), even.re);
                even.im = fused(sums[k - 1].im, all(root[0]), even.im);
                odd.re = fused(differences[k - 1].im, all(-root[1]), odd.re);
                odd.im = fused(differences[k - 1].re, all(root[1]), odd.im);
            }
            x[j] = plus(even, odd);
            x[radix - j] = minus(even, odd);
        }
    }
}

/* One pass over transforms of `length` numbers, `stride` of them side by side, of n / 2 in all. */
INLINE void pass(int radix, int length, int stride, const float *roots, const Pair *x, Pair *y) {
    const int part = length / radix;
    for (int p = 0; p < part; p++)
        for (int q = 0; q < stride; q++) {
            Pair z[5];
            UNROLL for (int j = 0; j < radix; j++) z[j] = x[q + stride * (p + part * j)];
            butterfly(z, radix, roots, 2L * length * stride / radix);
            y[q + stride * radix * p] = z[0];
            UNROLL for (int j = 1; j < radix; j++)
                y[q + stride * (radix * p + j)] = times(z[j], roots + 4L * p * j * stride);
        }
}

/* Transform of `length` numbers in x, by way of y; gives where it is in the end. */
static Pair *transform(int length, const float *roots, Pair *x, Pair *y) {
    for (int stride = 1; length > 1;) {
        const int radix = length % 4 == 0 ? 4 : length % 2 == 0 ? 2 : length % 3 == 0 ? 3 : 5;
        if (radix == 4) pass(4, length, stride, roots, x, y);
        if (radix == 2) pass(2, length, stride, roots, x, y);
        if (radix == 3) pass(3, length, stride, roots, x, y);
        if (radix == 5) pass(5, length, stride, roots, x, y);
        length /= radix, stride *= radix;
        Pair *const made = y;
        y = x, x = made;
    }
    return x;
}

/* Magnitudes [n / 2 + 1] of the spectra of `count` frames; room for n + 1 pairs, the magnitudes first. */
static floats *magnitudes(const Mel *mel, const float *samples, int count, floats *room) {
    const int half = mel->n / 2;
    Pair *const even_and_odd = (Pair *)(room + half + 1);
    for (int i = 0; i < mel->n; i++) {
        floats sample = {0};
        for (int lane = 0; lane < count; lane++) sample[lane] = samples[(long)lane * mel->hop + i];
        ((floats *)even_and_odd)[i] = sample * mel->window[i];
    }
    const Pair *z = transform(half, mel->roots, even_and_odd, even_and_odd + half);
    for (int k = 0; k <= half; k++) {
        const Pair a = z[k % half], b = z[(half - k) % half];
        const Pair even = {a.re + b.re, a.im - b.im}, odd = {a.im + b.im, b.re - a.re};
        const Pair twice = plus(even, times(odd, mel->roots + 2 * k));
        const floats power = fused(twice.re, twice.re, twice.im * twice.im) * 0.25f;
        room[k] = root(larger(power, all(mel->floor * mel->floor)));
    }
    return room;
}

/* Whole frames of samples to y [frames, bands]; `room` is for 5 n / 2 + 1 times LANES numbers. */
void spectrum(const Mel *mel, const float *samples, long frames, float *y, float *room) {
    for (long frame = 0; frame < frames; frame += LANES) {
        const int count = frames - frame < LANES ? frames - frame : LANES;
        const floats *bins = magnitudes(mel, samples + frame * mel->hop, count, (floats *)room);
        for (int band = 0; band < mel->bands; band++) {
            floats sum = {0};
            for (int k = mel->spans[2 * band]; k < mel->spans[2 * band + 1]; k++)
                sum = fused(bins[k], all(mel->filters[(long)band * (mel->n / 2 + 1) + k]), sum);
            sum = (logarithm(larger(sum, all(mel->floor))) + mel->shift) / mel->scale;
            for (int lane = 0; lane < count; lane++) y[(frame + lane) * mel->bands + band] = sum[lane];
        }
    }
}
