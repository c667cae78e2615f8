/* Matrix products of numbers rounded to bfloat16, summed in float, for processors with such an instruction. See network.c.
 *
 * The instruction multiplies pairs: two numbers that follow each other along the inner dimension, in one 32-bit word. So both
 * factors are packed first; everything else is as in product.h.
 */
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__) && !defined(SMALL_VECTORS)
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

/* The same of max(0, x): what a layer with a ReLU before it sees. */
static inline void pairs_along_relu(const float *from, int64_t rows, int64_t wide, uint32_t *to) {
    for (int64_t i = 0; i < rows * wide; i += LANES) {
        const __m512 x = _mm512_max_ps(_mm512_loadu_ps(from + i), _mm512_setzero_ps());
        _mm256_storeu_si256((__m256i *)(to + i / 2), (__m256i)_mm512_cvtneps_pbh(x));
    }
}

/* Pairs along a row become pairs down a column: (rows, wide / 2) -> ((rows + 1) / 2, wide) words. */
static inline void pairs_turned(const uint32_t *from, int64_t rows, int64_t wide, uint32_t *to) {
    const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    const __m256i low = _mm256_set1_epi32(0xffff);
    for (int64_t i = 0; i < rows; i += 2)
        for (int64_t j = 0; j < wide / 2; j += LANES / 2) {
            const __m256i a = _mm256_loadu_si256((const __m256i *)(from + i * (wide / 2) + j));
            const __m256i b = i + 1 < rows ? _mm256_loadu_si256((const __m256i *)(from + (i + 1) * (wide / 2) + j))
                                           : _mm256_setzero_si256();
            const __m256i even = _mm256_or_si256(_mm256_and_si256(a, low), _mm256_slli_epi32(b, 16));
            const __m256i odd = _mm256_or_si256(_mm256_srli_epi32(a, 16), _mm256_andnot_si256(low, b));
            const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
            _mm512_storeu_si512(to + i / 2 * wide + 2 * j, _mm512_permutexvar_epi32(order, both));
        }
}

/* Keeps the numbers where those of the pairs are above 0, and sets the others to 0: the gradient of a ReLU. */
static inline void where_positive(float *numbers, const uint32_t *pairs, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) {
        const __m256i seen = _mm256_loadu_si256((const __m256i *)(pairs + i / 2));
        const __mmask16 positive = _mm256_cmpgt_epi16_mask(seen, _mm256_setzero_si256());
        _mm512_storeu_ps(numbers + i, _mm512_maskz_loadu_ps(positive, numbers + i));
    }
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
