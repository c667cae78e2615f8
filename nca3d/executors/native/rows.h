/* Rows of living cells: what the files of this folder share. See rows.c. */
#ifndef NCA3D_ROWS_H
#define NCA3D_ROWS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"

#ifndef REAL
#define REAL float
#endif
/* A vector is a register of the processor that this is built for: LANES numbers. SMALL_VECTORS: half of its largest ones. */
#if defined(__AVX512F__) && !defined(SMALL_VECTORS)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif
#define LANES ((int64_t)(VECTOR / sizeof(REAL)))
#define DEAD 0
#define OUTSIDE 1
#define FIRST 2
#define ROUND(n) (((n) + LANES - 1) / LANES * LANES)

typedef REAL vec __attribute__((vector_size(VECTOR), aligned(sizeof(REAL))));
enum { ZEROS, REPLICATE, CIRCULAR };
/* Bits of an alive mask: alive; above the threshold itself; another process' row, lent to be looked at: it stays as it is. */
enum { NEAR = 1, CORE = 2, LENT = 4 };

static inline vec load(const REAL *p) { return *(const vec *)p; }

typedef struct {
    int32_t *map; /* cell of the lattice -> row of the store; 0 = it has none */
    int32_t *born; /* cells without a row that the last `mark` met beside a living one, sorted */
    int64_t born_room, born_count;
    int64_t bytes;
    int32_t batch, depth, height, width, padding;
} Lattice;

/* Which cells fire in one step. */
typedef struct {
    const uint8_t *mask; /* the caller's mask of this step, for all samples; NULL: draw */
    uint32_t seed, step; /* step: its absolute number */
    uint64_t below; /* fire_rate · 2³²: a cell fires when its draw is below it */
    const int32_t *ids; /* (batch): the sample ids */
} Fire;

/* Which cells perceive what, and where it is written; the same struct serves the backward pass. */
typedef struct {
    const Lattice *lattice;
    const int32_t *cells, *rows; /* the cell of each row, and the rows that perceive; rows NULL: all of `cells` do */
    REAL *x;                     /* states (rows, stride); backward: their gradients */
    const REAL *taps;            /* (K, 27, stride): the weight of each neighbour in each kernel but the identity */
    const int32_t *place;        /* (K + 1): the place of each kernel in a perception; last: that of the identity, or -1 */
    REAL *perception;            /* (n, wide); backward: its gradient */
    REAL *grad_taps;             /* (samples, K, 27, stride): one sum for each sample, as of the weights */
    int64_t kernels, wide, channels, stride;
    int32_t sobel; /* 1: the first three kernels are the Sobel ones for x, y, z, which share most of their sums; 2: one that
                    * weighs a neighbour by how many axes it is away follows, as Laplacians do */
    double away[4]; /* by 0, 1, 2, 3 axes */
} Sight;

Lattice *lattice_new(int32_t batch, int32_t depth, int32_t height, int32_t width, int32_t padding);
void lattice_free(Lattice *l);
int64_t fire_rows(const Lattice *l, const Fire *f, const int32_t *cells, const uint8_t *pre, int64_t n, int32_t *rows);
void perceive(const Sight *s, int64_t n);
void perceive_backward(const Sight *s, int64_t n);
void taps_backward(const Sight *s, int64_t n);
void map_set(Lattice *l, const int32_t *cells, int64_t n);
void map_clear(Lattice *l, const int32_t *cells, int64_t n);
void add_rows(REAL *x, const int32_t *rows, const REAL *change, int64_t n, int64_t channels, int64_t wide, int64_t stride,
              double factor);
void scaled_rows(const REAL *x, const int32_t *rows, REAL *out, int64_t n, int64_t channels, int64_t wide, int64_t stride,
                 double factor);
void grow_backward(const REAL *after, const int32_t *new_row, REAL *before, int64_t n, int64_t stride);
int mark(Lattice *l, const int32_t *cells, const REAL *alpha, const uint8_t *pre, uint8_t *near, int64_t n, int64_t stride,
         double threshold, int64_t counts[2]);
int64_t ring(const Lattice *l, const Fire *f, const int32_t *cells, const uint8_t *pre, const uint8_t *near, int64_t n,
             int32_t *out, int64_t room);
void ring_survivors(const Lattice *l, const int32_t *ring_cells, const REAL *x, const REAL *change, int64_t n, int64_t alpha,
                    int64_t wide, int64_t stride, double factor, double threshold, uint8_t *survivors);
int64_t next_rows(const Lattice *l, const uint8_t *pre, const uint8_t *near, const uint8_t *survivors, int64_t n,
                  int32_t fixed);
void grow(Lattice *l, const int32_t *cells, const REAL *x, const uint8_t *pre, const uint8_t *near, const uint8_t *survivors,
          int64_t n, int64_t stride, int32_t fixed, int32_t *new_cells, REAL *new_x, uint8_t *new_pre, int32_t *new_row);

/* network.c: linear layers with ReLUs between them, on blocks of rows */
#define BLOCK 256 /* rows at once: what goes from layer to layer stays in the processor's cache */

typedef struct {
    int32_t layers, half;  /* half: products of numbers rounded to bfloat16, summed in full */
    const int64_t *widths; /* (layers + 1) */
    REAL **weights;        /* (out, ROUND(in)) */
    REAL **transposed;     /* (in, ROUND(out)): the same weights */
    REAL **biases;         /* (ROUND(out)), or NULL */
    REAL **values;         /* (layers + 1): (BLOCK, ROUND(width)), the input of each layer, then the output */
    REAL **grads;          /* (layers + 1): the gradients of these */
    REAL **grad_weights, **grad_biases; /* one for each sample: their sum over a batch has one order, however that is split */
    int64_t samples, sample;            /* how many there are; to which the rows of a backward pass belong */
    REAL **few_weights;                 /* the sum over a few blocks: a long sum that is made of short ones loses less */
    int64_t few;                        /* how many blocks are in it */
    uint32_t **weight_pairs, **transposed_pairs, *left_pairs, *right_pairs; /* for half: weights, and room for two factors */
    uint32_t **seen; /* for half: what each layer saw of the last block, as pairs along its rows, (rows, ROUND(width) / 2) */
} Layers;

Layers *layers_new(int32_t layers, const int64_t *widths, const REAL *const *weights, const REAL *const *biases, int32_t half,
                   int64_t samples);
void layers_free(Layers *net);
void layers_clear(Layers *net);
void layers_collect(const Layers *net, int32_t l, int64_t sample, REAL *weight, REAL *bias);
int64_t layers_kept(const Layers *net);
REAL *layers_forward(Layers *net, int64_t rows, int output, uint32_t *keep);
REAL *layers_backward(Layers *net, int64_t rows, const uint32_t *kept);
void layers_settle(Layers *net);

#endif
