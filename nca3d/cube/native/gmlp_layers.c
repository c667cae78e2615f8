/* The layers of gMLP cells, forward and backward: linear ones and norms. Everything is (numbers, samples). See gmlp.h. */
#include "gmlp.h"
#include "product.h"
#include "smooth.h"

/* ---- from samples in lanes to numbers in lanes ---------------------------------------------------------------------------- */

#if HAS_HALF
typedef __m512 Lines[16];

/* Pairs of words, of pairs, and so on, are swapped across the diagonal: 16 × 16 words of 32 bits. */
static inline __attribute__((always_inline)) void turn_block(const void *from, int64_t from_wide, void *to, int64_t to_wide) {
    const float *in = from;
    float *out = to;
    Lines a, b;
    for (int r = 0; r < 16; r++) a[r] = _mm512_loadu_ps(in + r * from_wide);
    for (int r = 0; r < 16; r += 2)
        b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]), b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
    for (int r = 0; r < 16; r += 4)
        for (int h = 0; h < 2; h++) {
            const __m512d one = (__m512d)b[r + h], two = (__m512d)b[r + 2 + h];
            a[r + 2 * h] = (__m512)_mm512_unpacklo_pd(one, two), a[r + 2 * h + 1] = (__m512)_mm512_unpackhi_pd(one, two);
        }
    for (int r = 0; r < 16; r += 8)
        for (int h = 0; h < 4; h++) {
            b[r + h] = _mm512_shuffle_f32x4(a[r + h], a[r + 4 + h], 0x88);
            b[r + 4 + h] = _mm512_shuffle_f32x4(a[r + h], a[r + 4 + h], 0xdd);
        }
    for (int h = 0; h < 8; h++) {
        _mm512_storeu_ps(out + h * to_wide, _mm512_shuffle_f32x4(b[h], b[8 + h], 0x88));
        _mm512_storeu_ps(out + (8 + h) * to_wide, _mm512_shuffle_f32x4(b[h], b[8 + h], 0xdd));
    }
}
#endif

void turn(const REAL *from, int64_t rows, int64_t columns, int64_t from_wide, REAL *to, int64_t to_wide) {
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < columns; j += 16) {
#if HAS_HALF
            if (i + 16 <= rows && j + 16 <= columns) {
                turn_block(from + i * from_wide + j, from_wide, to + j * to_wide + i, to_wide);
                continue;
            }
#endif
            for (int64_t r = i; r < rows && r < i + 16; r++)
                for (int64_t c = j; c < columns && c < j + 16; c++) to[c * to_wide + r] = from[r * from_wide + c];
        }
}

/* ---- linear layers -------------------------------------------------------------------------------------------------------- */

/* Asks for weights of the next cell while this one is computed: a part of them with each chunk of samples. */
static void fetch(const Work *k, const REAL *from, int64_t numbers) {
    const int64_t chunks = (k->cube->batch + CHUNK - 1) / CHUNK, chunk = k->start / CHUNK;
    if (!from) return;
    for (int64_t i = numbers * chunk / chunks; i < numbers * (chunk + 1) / chunks; i += 64 / (int64_t)sizeof(REAL))
        __builtin_prefetch(from + i, 0, 2);
}

/* y = xᵀ · w + bias, or added to what is there. */
void linear_forward(Work *k, int which, const REAL *x, REAL *y, int add) {
    const Linear *l = &k->linears[which];
    const int64_t wide = k->wide;
    const int few = k->cube->batch <= LANES && l->next_w; /* one vector of samples: then the product itself waits for weights */
    if (!few) fetch(k, l->next_w, l->in * l->out);
    for (int64_t o = 0; o < l->out; o++)
        APART
        for (int64_t s = 0; s < wide; s++) y[o * wide + s] = add ? y[o * wide + s] + l->bias[o] : l->bias[o];
#if HAS_HALF
    if (l->down) {
        pairs_down(x, l->in, wide, k->right);
        HalfProduct p = {l->down, k->right, y, y, 1, l->out, wide, wide, wide, l->in / 2};
        half_multiply(&p, l->out, wide);
        return;
    }
#endif
    Product p = {l->w, x, y, y, 1, l->out, wide, wide, wide, l->in};
    few ? multiply_ahead(&p, l->out, wide, l->next_w - l->w) : multiply(&p, l->out, wide);
}

/* What flows into weight and bias: sums over samples of x · into. */
static void grad_linear(Work *k, const Linear *l, const REAL *x, const REAL *into) {
    const int64_t wide = k->wide, out = l->out, rounded = ROUND(out);
    const int scattered = out != rounded;
    REAL *to = scattered ? k->spare : l->grad_w;
    fetch(k, l->next_into, l->in * out);
    turn(into, out, wide, wide, k->turned, rounded);
    for (int64_t o = 0; o < out; o += LANES) {
        vec sum = {0};
        for (int64_t s = 0; s < k->samples; s++) sum += load(k->turned + s * rounded + o);
        for (int64_t n = 0; n < LANES && o + n < out; n++)
            l->grad_bias[o + n] = (k->assign ? 0 : l->grad_bias[o + n]) + sum[n];
    }
#if HAS_HALF
    if (l->along) {
        pairs_along(into, out, wide, k->left);
        turn((const REAL *)k->left, out, wide / 2, wide / 2, (REAL *)k->right, out);
        pairs_along(x, l->in, wide, k->left);
        HalfProduct p = {k->left, k->right, k->assign ? NULL : to, to, wide / 2, 1, out, out, out, (k->samples + 1) / 2};
        half_multiply(&p, l->in, out);
        return;
    }
#endif
    Product p = {x, k->turned, k->assign || scattered ? NULL : to, to, wide, 1, rounded, rounded, rounded, k->samples};
    for (int64_t i = 0, step = l->beside[0] ? TILE : l->in; i < l->in; i += step) {
        const int64_t rows = l->in - i < step ? l->in - i : step;
        for (int64_t n = 0; l->beside[0] && n < rows * out; n += 64 / (int64_t)sizeof(REAL))
            __builtin_prefetch(l->beside[0] + i * out + n, 1, 2), __builtin_prefetch(l->beside[1] + i * out + n, 1, 2);
        multiply(&p, rows, rounded);
        p.a += step * wide, p.from = p.from ? p.from + step * rounded : NULL, p.to += step * rounded;
    }
    for (int64_t i = 0; scattered && i < l->in; i++)
        APART
        for (int64_t o = 0; o < out; o++)
            l->grad_w[i * out + o] = to[i * rounded + o] + (k->assign ? 0 : l->grad_w[i * out + o]);
}

/* Into the weights, and into x: written, or added to what is there. */
void linear_backward(Work *k, int which, const REAL *x, const REAL *into, REAL *grad_x, int add) {
    const Linear *l = &k->linears[which];
    const int64_t wide = k->wide;
    if (l->grad_w) grad_linear(k, l, x, into);
    if (!grad_x) return;
#if HAS_HALF
    if (l->along) {
        pairs_down(into, l->out, wide, k->right);
        HalfProduct p = {l->along, k->right, add ? grad_x : NULL, grad_x, l->out / 2, 1, wide, wide, wide, l->out / 2};
        half_multiply(&p, l->in, wide);
        return;
    }
#endif
    Product p = {l->w, into, add ? grad_x : NULL, grad_x, l->out, 1, wide, wide, wide, l->out};
    multiply(&p, l->in, wide);
}

/* Whether products of rounded numbers are those of this processor; else bfloat16 is not slower, and not coarser either. */
int64_t gmlp_rounds(void) { return HAS_HALF; }

/* The weights once more, rounded, as the products of this pass need them. Layers of odd widths are not rounded. */
void linear_halve(Linear *l, uint32_t **room, int forward, int backward) {
    l->down = l->along = NULL;
#if HAS_HALF
    if (l->in % 2 || l->out % LANES) return;
    const int64_t pairs = l->in * l->out / 2;
    if (forward) l->down = *room, *room += pairs, pairs_down(l->w, l->in, l->out, l->down);
    if (backward) l->along = *room, *room += pairs, pairs_along(l->w, l->in, l->out, l->along);
#else
    (void)room, (void)forward, (void)backward;
#endif
}

/* ---- norms ---------------------------------------------------------------------------------------------------------------- */

/* Each sample to mean 0 and variance 1, `even`, and that times scale plus shift. */
void norm_forward(Work *k, int which, const REAL *x, REAL *even, REAL *scaled) {
    const Norm *m = &k->norms[which];
    const int64_t n = m->wide, wide = k->wide;
    const REAL share = (REAL)1 / (REAL)n;
    for (int64_t s = 0; s < wide; s += LANES) {
        vec sum[2] = {{0}}, square[2] = {{0}}, rate; /* two at a time: one sum would wait for itself */
        for (int64_t i = 0; i + 1 < n; i += 2) sum[0] += load(x + i * wide + s), sum[1] += load(x + (i + 1) * wide + s);
        if (n % 2) sum[0] += load(x + (n - 1) * wide + s);
        const vec mean = (sum[0] + sum[1]) * share;
        for (int64_t i = 0; i + 1 < n; i += 2) {
            const vec one = load(x + i * wide + s) - mean, two = load(x + (i + 1) * wide + s) - mean;
            square[0] += one * one, square[1] += two * two;
        }
        if (n % 2) square[0] += (load(x + (n - 1) * wide + s) - mean) * (load(x + (n - 1) * wide + s) - mean);
        square[0] = (square[0] + square[1]) * share + (REAL)1e-5;
        for (int64_t l = 0; l < LANES; l++) rate[l] = 1 / SQRT(square[0][l]);
        *(vec *)(m->rate + s) = rate;
        for (int64_t i = 0; i < n; i++) {
            const vec one = (load(x + i * wide + s) - mean) * rate;
            *(vec *)(even + i * wide + s) = one;
            *(vec *)(scaled + i * wide + s) = one * m->scale[i] + m->shift[i];
        }
    }
}

/* From `scaled` into x, written or added (NULL: not asked for), and into scale and shift, lane by lane. */
void norm_backward(Work *k, int which, const REAL *into, const REAL *even, REAL *grad_x, int add) {
    const Norm *m = &k->norms[which];
    const int64_t n = m->wide, wide = k->wide;
    const REAL share = (REAL)1 / (REAL)n;
    for (int64_t s = 0; s < wide; s += LANES) {
        vec sum = {0}, along = {0};
        for (int64_t i = 0; i < n; i++) {
            const vec one = load(into + i * wide + s), times = one * load(even + i * wide + s);
            sum += one * m->scale[i], along += times * m->scale[i];
            *(vec *)(m->shifts + i * LANES) += one;
            *(vec *)(m->scales + i * LANES) += times;
        }
        if (!grad_x) continue;
        const vec rate = load(m->rate + s);
        sum *= share, along *= share;
        for (int64_t i = 0; i < n; i++) {
            vec *to = (vec *)(grad_x + i * wide + s);
            const vec one = rate * (load(into + i * wide + s) * m->scale[i] - sum - load(even + i * wide + s) * along);
            *to = add ? *to + one : one;
        }
    }
}

/* Sums over lanes, at the end of a cell. */
void norm_end(Work *k, Norm *m) {
    if (!m->grad_scale) return;
    REAL *const lanes[] = {m->scales, m->shifts}, *const into[] = {m->grad_scale, m->grad_shift};
    for (int which = 0; which < 2; which++) {
        turn(lanes[which], m->wide, LANES, LANES, k->spare, m->wide);
        for (int64_t i = 0; i < m->wide; i++) {
            REAL sum = k->assign ? 0 : into[which][i];
            for (int64_t l = 0; l < LANES; l++) sum += k->spare[l * m->wide + i];
            into[which][i] = sum;
        }
    }
}
