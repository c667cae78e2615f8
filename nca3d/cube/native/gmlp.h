/* gMLP cells with weights of their own (nca3d/cube/gmlp.py): what the gmlp files share.
 *
 * Samples are the lanes of vectors: everything of some samples of one cell is (numbers, samples), so that products take weights as
 * they lie, (inputs, outputs), broadcast one by one, and no width of the rule leaves a remainder.
 */
#ifndef NCA3D_GMLP_H
#define NCA3D_GMLP_H

#include "rows.h"

/* Said of a loop: its turns do not depend on each other, whatever its pointers look like. */
#define APART _Pragma("GCC ivdep")
#define CHUNK 32 /* samples at once: a cell's weights, their gradient and all that is computed stay in the processor's cache */
#define SIDES 6
#define POSITIONS 7 /* what the gate runs over */
#define LOOK_WIDE 32

enum { ENTER, SPLIT, WIDEN, NARROW, RESET_IN, RESET_OF, UPDATE_IN, UPDATE_OF, CANDIDATE_IN, CANDIDATE_OF, RECALL, CLOSE, AROUND,
       LOOK, WEIGH, ACROSS, LINEARS };
enum { SEEN, GATE, ENDING, NORMS };
/* Slots: weight and bias of each linear layer, scale and shift of each norm, then positions and their bias. */
enum { OF_NORMS = 2 * LINEARS, OF_GATE = OF_NORMS + 2 * NORMS, SLOTS = OF_GATE + 2 };

/* One step of a block of cells. States are (chunks, cells, channels, samples of the chunk), as is all that is shaped like them. */
typedef struct {
    int64_t cells, batch, features, memory, external, widened;
    int64_t front;                             /* cells of the front face */
    int64_t start, count, reach;               /* the block; how far in this order a neighbour may be */
    int32_t mixing, leaky, half, shared, assign; /* shared: one set of weights; assign: their gradient is written, not added to */
    int32_t learns;                            /* whether weights are asked for a gradient */
    double step_size;
    const int32_t *neighbours;      /* (cells, 6); `cells` = outside */
    const REAL *weights[SLOTS];     /* of the block's first cell; the others' follow */
    REAL *grad_weights[SLOTS];
    const uint16_t *narrow[SLOTS];  /* the weights in bfloat16, in place of `weights`, forward only; or NULL */
    const uint8_t *fire;            /* (batch, cells), or NULL = all */
    const REAL *x, *face, *outside; /* states; what is added to the front, and fed to each cell, or NULL */
    REAL *after;                    /* forward */
    const REAL *grad_after;         /* backward */
    REAL *grad_x, *grad_face, *grad_outside; /* grad_x NULL: the weights alone are asked for */
    REAL *near;                     /* (block, chunks: 6 · features, samples): what flows back to the neighbours */
} Cube;

/* Adam's step for the weights of a block of cells. */
typedef struct {
    REAL *weights[SLOTS], *first[SLOTS], *second[SLOTS]; /* of the block's first cell; the others' follow */
    REAL *largest;                                       /* (SLOTS): the largest weight of each after the step, by its size */
    double rate, beta1, beta2, eps, decay, correction1, correction2; /* corrections: 1 - beta^t */
    int32_t decoupled;
} Adam;

typedef struct {
    int64_t in, out;
    const REAL *w, *bias;
    REAL *grad_w, *grad_bias;
    const REAL *next_w, *next_into; /* of the cell that comes after, or NULL */
    const REAL *beside[2];          /* what will be needed of this cell once its gradient is known, or NULL */
    uint32_t *down, *along; /* for half: pairs of weights along inputs, and along outputs; NULL: not rounded */
} Linear;

typedef struct {
    int64_t wide;
    const REAL *scale, *shift;
    REAL *grad_scale, *grad_shift;
    REAL *scales, *shifts; /* (wide, LANES): what flows into them, not yet summed over lanes */
    REAL *rate;            /* (samples): 1 / standard deviation */
} Norm;

/* A thread's work space, and the cell it is at. What is computed is (numbers, wide). */
typedef struct {
    const Cube *cube;
    int64_t cell, start, samples, wide, sights; /* samples start … of the batch; wide: in whole vectors; sights: 7 · F + E */
    int assign;
    Linear linears[LINEARS];
    Norm norms[NORMS];
    REAL gate, lift, grad_gate, grad_lift; /* scale and shift of the gate */
    REAL *widened;                         /* the cell's weights, where they came in bfloat16 */
    REAL *grad_positions, *grad_positions_bias;
    REAL *state, *firing, *seen, *even, *scaled;    /* seen: what the cell sees; even: normalised; scaled: by weights */
    REAL *entered, *split, *slopes, *calm, *calmed; /* split: u, v after GELU; calm: v normalised; calmed: scaled */
    REAL *gated, *hidden, *hidden_slopes, *x, *pair, *looked, *share;
    REAL *reset, *update, *old, *candidate, *remembered, *recalled, *level, *levelled, *out, *around;
    REAL *grad_after, *grad_own, *grad_out, *grad_around, *grad_x, *grad_memory, *grad_memory_x, *grad_gates;
    REAL *grad_levelled, *grad_pair, *grad_looked, *grad_share, *grad_hidden, *grad_split, *grad_calmed;
    REAL *grad_entered, *grad_scaled, *grad_perception, *turned, *spare;
    uint32_t *left, *right, *pairs;
} Work;

/* gmlp_layers.c */
void turn(const REAL *from, int64_t rows, int64_t columns, int64_t from_wide, REAL *to, int64_t to_wide);
void linear_halve(Linear *l, uint32_t **room, int forward, int backward);
void linear_forward(Work *k, int which, const REAL *x, REAL *y, int add);
void linear_backward(Work *k, int which, const REAL *x, const REAL *into, REAL *grad_x, int add);
void norm_forward(Work *k, int which, const REAL *x, REAL *even, REAL *scaled);
void norm_backward(Work *k, int which, const REAL *into, const REAL *even, REAL *grad_x, int add);
void norm_end(Work *k, Norm *m);

/* gmlp_work.c */
int64_t slot_size(const Cube *c, int slot);
Work *work_new(const Cube *c);
void cell_begin(Work *k, int64_t cell, int64_t next, REAL *const *into, int backward);
void cell_end(Work *k);
void take(const Work *k, const REAL *from, int64_t numbers, REAL *to);
void put(const Work *k, const REAL *from, int64_t numbers, REAL *to, int add);
const REAL *at(const Work *k, const REAL *all, int64_t numbers, int64_t cell);
void look(Work *k);

/* gmlp.c */
int is_still(const Cube *c, int64_t cell);
void chunk_at(Work *k, int64_t start);

/* gmlp_cell.c */
void cell_forward(Work *k, int backward);
void cell_backward(Work *k);

#endif
