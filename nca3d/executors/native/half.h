/* Matrix products of numbers rounded to bfloat16, summed in float, for processors with such an instruction. See network.c.
 *
 * The instruction multiplies pairs: two numbers that follow each other along the inner dimension, in one 32-bit word. So both
 * factors are packed first; everything else is as in product.h.
 */
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && !defined(SMALL_VECTORS)
#include <immintrin.h>

typedef struct {
    const uint32_t *a, *b; /* pairs: a(i, k) at a[i · down + k · along]; b[k][j] */
    const float *from;
    float *to;
    int64_t down, along, b_wide, from_wide, wide, inner;
} HalfProduct;

static inline __attribute__((always_inline)) void half_tile(const int rows, const int vectors, const HalfProduct *p, int64_t i,
                                                           int64_t j) {
    __m512 sum[TILE][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = p->from ? _mm512_loadu_ps(p->from + (i + r) * p->from_wide + j + v * LANES) : _mm512_setzero_ps();
    const uint32_t *a = p->a + i * p->down, *b = p->b + j;
    for (int64_t k = 0; k < p->inner; k++, a += p->along, b += p->b_wide) {
        __m512bh right[2];
        for (int v = 0; v < vectors; v++) right[v] = (__m512bh)_mm512_loadu_si512(b + v * LANES);
        for (int r = 0; r < rows; r++) {
            const __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[r * p->down]);
            for (int v = 0; v < vectors; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, right[v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) _mm512_storeu_ps(p->to + (i + r) * p->wide + j + v * LANES, sum[r][v]);
}

static void half_multiply(const HalfProduct *p, int64_t rows, int64_t columns) {
    for (int64_t j = 0; j < columns; j += 2 * LANES) {
        const int two = columns - j > LANES;
        int64_t i = 0;
        for (; i + TILE <= rows; i += TILE) two ? half_tile(TILE, 2, p, i, j) : half_tile(TILE, 1, p, i, j);
        for (; i + 4 <= rows; i += 4) two ? half_tile(4, 2, p, i, j) : half_tile(4, 1, p, i, j);
        for (; i < rows; i++) two ? half_tile(1, 2, p, i, j) : half_tile(1, 1, p, i, j);
    }
}

/* Pairs along a row: (rows, wide) -> (rows, wide / 2) words. */
static void pairs_along(const float *from, int64_t rows, int64_t wide, uint32_t *to) {
    for (int64_t i = 0; i < rows * wide; i += LANES)
        _mm256_storeu_si256((__m256i *)(to + i / 2), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
}

/* Pairs down a column: (rows, wide) -> ((rows + 1) / 2, wide) words; an odd last row is paired with zeros. */
static void pairs_down(const float *from, int64_t rows, int64_t wide, uint32_t *to) {
    for (int64_t i = 0; i < rows; i += 2)
        for (int64_t j = 0; j < wide; j += LANES) {
            const __m256i low = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i * wide + j));
            const __m256i high = i + 1 < rows ? (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + (i + 1) * wide + j))
                                              : _mm256_setzero_si256();
            const __m512i word = _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
            _mm512_storeu_si512(to + i / 2 * wide + j, word);
        }
}
#define HAS_HALF 1
#else
#define HAS_HALF 0
#endif
