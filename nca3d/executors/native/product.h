/* The matrix product of all networks: a tile of TILE × 2 vectors of sums stays in registers while the inner dimension runs. */
#ifndef NCA3D_PRODUCT_H
#define NCA3D_PRODUCT_H

#include "rows.h"

#if defined(__AVX512F__) || defined(__aarch64__)
#define TILE 12 /* 24 of 32 vector registers hold sums; the others hold factors */
#else
#define TILE 6 /* 12 of 16 */
#endif

#ifdef FLOATS
#include "half.h"
#define KIND(name) name##ps
#else
#define HAS_HALF 0
#define KIND(name) name##pd
#endif

/* a · b + c, rounded once. The instruction is named, because a compiler that fuses the two operations in tiles of many rows may
 * leave them apart for a single row, which waits for each sum (GCC for AMD): a row's bits would then depend on how many rows
 * stand beside it (law 3). In larger tiles the plain expression gives the shorter loops. */
#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif
static inline __attribute__((always_inline)) vec fused(REAL a, vec b, vec c) {
    const vec all = a - (vec){0};
#if VECTOR == 64
    return KIND(_mm512_fmadd_)(all, b, c);
#elif defined(__FMA__)
    return KIND(_mm256_fmadd_)(all, b, c);
#else
    return all * b + c;
#endif
}

/* to[i][j] = from[i][j] + Σ_k a(i, k) · b[k][j], with a(i, k) at a[i · down + k · along], so that `a` may be read transposed.
 * `from` is NULL (zeros), `to` itself, or one row for all (from_wide = 0). */
typedef struct {
    const REAL *a, *b, *from;
    REAL *to;
    int64_t down, along, b_wide, from_wide, wide, inner;
} Product;

static inline __attribute__((always_inline)) void tile(const int rows, const int vectors, const Product *p, int64_t i, int64_t j,
                                                       const int fetches, int64_t ahead) {
    vec sum[TILE][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = p->from ? load(p->from + (i + r) * p->from_wide + j + v * LANES) : (vec){0};
    const REAL *a = p->a + i * p->down, *b = p->b + j;
    for (int64_t k = 0; k < p->inner; k++, a += p->along, b += p->b_wide) {
        vec right[2];
        if (fetches) __builtin_prefetch(a + ahead, 0, 2);
        for (int v = 0; v < vectors; v++) right[v] = load(b + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = rows > 1 ? sum[r][v] + a[r * p->down] * right[v] : fused(a[r * p->down], right[v], sum[r][v]);
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) *(vec *)(p->to + (i + r) * p->wide + j + v * LANES) = sum[r][v];
}

static inline __attribute__((always_inline)) void tiles(const Product *p, int64_t rows, int64_t columns, const int f, int64_t d) {
    for (int64_t j = 0; j < columns; j += 2 * LANES) {
        const int two = columns - j > LANES;
        int64_t i = 0;
        for (; i + TILE <= rows; i += TILE) two ? tile(TILE, 2, p, i, j, f, d) : tile(TILE, 1, p, i, j, f, d);
        for (; i + 4 <= rows; i += 4) two ? tile(4, 2, p, i, j, f, d) : tile(4, 1, p, i, j, f, d);
        for (; i + 2 <= rows; i += 2) two ? tile(2, 2, p, i, j, f, d) : tile(2, 1, p, i, j, f, d);
        for (; i < rows; i++) two ? tile(1, 2, p, i, j, f, d) : tile(1, 1, p, i, j, f, d);
    }
}

/* Columns are padded to whole vectors. Rows that are too few for a tile go through smaller ones, with the same sums. */
static __attribute__((unused)) void multiply(const Product *p, int64_t rows, int64_t columns) { tiles(p, rows, columns, 0, 0); }

/* The same, which asks on its way for what lies `ahead` of each number of `a`. */
static __attribute__((unused)) void multiply_ahead(const Product *p, int64_t rows, int64_t columns, int64_t ahead) {
    tiles(p, rows, columns, 1, ahead);
}

#endif
