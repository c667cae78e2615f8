/* One step of a block of gMLP cells on some threads, forward and backward. See gmlp.h.
 *
 * Threads take cells from a queue. Backward, each cell writes what flows back to its neighbours into a place of its own, and when all
 * are done each neighbour collects it in a fixed order: no result depends on which thread did what.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "gmlp.h"

#define GROUPS 16 /* of cells that share weights: each sums up on its own */

typedef struct {
    const Cube *cube;
    int64_t next, stop;
    int failed;
    REAL *groups; /* (GROUPS, numbers of a cell), for shared weights */
    void (*work)(const Cube *, Work *, int64_t, int64_t, REAL *const *);
} Queue;

void chunk_at(Work *k, int64_t start) {
    const int64_t left = k->cube->batch - start;
    k->start = start, k->samples = left < CHUNK ? left : CHUNK, k->wide = ROUND(k->samples);
}

static void forward_cell(const Cube *c, Work *k, int64_t cell, int64_t next, REAL *const *into) {
    cell_begin(k, cell, next, into, 0);
    for (int64_t start = 0; start < c->batch; start += CHUNK) chunk_at(k, start), cell_forward(k, 0);
}

/* Whether nothing flows back into a cell: the answer is read at one face, so in the last steps that is most of a cube. */
int is_still(const Cube *c, int64_t cell) {
    const int64_t channels = c->features + c->memory;
    for (int64_t start = 0; start < c->batch; start += CHUNK) {
        const int64_t n = c->batch - start < CHUNK ? c->batch - start : CHUNK;
        const REAL *has = c->grad_after + (start * c->cells + cell * n) * channels;
        for (int64_t i = 0; i < n * channels; i++)
            if (has[i] != 0) return 0;
    }
    return 1;
}

static void backward_still(const Cube *c, int64_t cell, REAL *const *into) {
    const int64_t size = SIDES * c->features * c->batch;
    memset(c->near + (cell - c->start) * size, 0, size * sizeof(REAL));
    if (!c->learns || !c->assign) return;
    for (int s = 0; s < SLOTS; s++)
        if (into[s]) memset(into[s], 0, slot_size(c, s) * sizeof(REAL));
}

static void backward_cell(const Cube *c, Work *k, int64_t cell, int64_t next, REAL *const *into) {
    if (is_still(c, cell)) {
        backward_still(c, cell, into);
        return;
    }
    const int64_t f = c->features, channels = f + c->memory;
    cell_begin(k, cell, next, into, 1);
    for (int64_t start = 0; start < c->batch; start += CHUNK) {
        chunk_at(k, start);
        const int64_t size = f * k->wide, n = k->samples;
        cell_forward(k, 1), cell_backward(k);
        k->assign = 0;
        REAL *own = k->grad_perception + SIDES * size;
        APART
        for (int64_t i = 0; i < size; i++) k->grad_own[i] += own[i];
        put(k, k->grad_own, channels, (REAL *)at(k, c->grad_x, channels, cell), 1);
        put(k, k->grad_perception, SIDES * f, c->near + ((cell - c->start) * c->batch + start) * SIDES * f, 0);
        if (c->grad_face && cell < c->front) put(k, own, f, c->grad_face + (start * c->front + cell * n) * f, 1);
        if (c->grad_outside) put(k, own + size, c->external, (REAL *)at(k, c->grad_outside, c->external, cell), 1);
    }
    cell_end(k);
}

/* What its neighbours in the block have for a cell. */
static void collect(const Cube *c, int64_t cell) {
    const int64_t f = c->features, channels = f + c->memory;
    for (int side = 0; side < SIDES; side++) {
        const int64_t from = c->neighbours[cell * SIDES + side] - c->start;
        if (from < 0 || from >= c->count) continue;
        for (int64_t start = 0; start < c->batch; start += CHUNK) {
            const int64_t n = c->batch - start < CHUNK ? c->batch - start : CHUNK;
            const REAL *has = c->near + (from * c->batch + start) * SIDES * f + (side ^ 1) * f * n; /* seen from there */
            REAL *to = c->grad_x + (start * c->cells + cell * n) * channels;
            APART
            for (int64_t i = 0; i < f * n; i++) to[i] += has[i];
            if (!c->grad_face || cell >= c->front) continue;
            REAL *face = c->grad_face + (start * c->front + cell * n) * f;
            APART
            for (int64_t i = 0; i < f * n; i++) face[i] += has[i];
        }
    }
}

static int64_t numbers(const Cube *c) {
    int64_t all = 0;
    for (int s = 0; s < SLOTS; s++) all += slot_size(c, s);
    return all;
}

static void *serve(void *given) {
    Queue *q = given;
    const Cube *c = q->cube;
    Cube own = *c; /* groups differ in whether they write or add */
    Work *k = q->work ? work_new(&own) : NULL;
    if (q->work && !k) return q->failed = 1, NULL;
    int64_t i = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED), next;
    for (; i < q->stop; i = next) {
        next = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED);
        if (!q->work) {
            collect(c, i);
            continue;
        }
        /* Of shared weights a group of cells is one piece of work. */
        const int64_t from = q->groups ? c->count * i / GROUPS : i, to = q->groups ? c->count * (i + 1) / GROUPS : i + 1;
        REAL *into[SLOTS], *at = q->groups ? q->groups + i * numbers(c) : NULL;
        for (int s = 0; s < SLOTS; s++) {
            into[s] = q->groups ? at : c->grad_weights[s] ? c->grad_weights[s] + i * slot_size(c, s) : NULL;
            at += q->groups ? slot_size(c, s) : 0;
        }
        for (int64_t cell = from; cell < to; cell++) {
            own.assign = q->groups ? cell == from : c->assign;
            q->work(&own, k, c->start + cell, next < q->stop ? c->start + next : -1, into);
        }
    }
    free(k);
    return NULL;
}

static int run(Queue *queue, int32_t threads) {
    pthread_t ids[64];
    int started = 0;
    while (started < 63 && started + 1 < threads && queue->next + started + 1 < queue->stop &&
           !pthread_create(&ids[started], NULL, serve, queue))
        started++;
    serve(queue);
    for (int k = 0; k < started; k++) pthread_join(ids[k], NULL);
    return queue->failed;
}

int gmlp_forward(const Cube *c, int32_t threads) {
    Queue queue = {.cube = c, .stop = c->count, .work = forward_cell};
    return run(&queue, threads);
}

/* Adds up what the groups of cells have found for the weights that they share. */
static void add_groups(const Cube *c, const REAL *groups) {
    const int64_t all = numbers(c), used = GROUPS;
    int64_t at = 0;
    for (int s = 0; s < SLOTS; at += slot_size(c, s++))
        for (int64_t i = 0; i < slot_size(c, s); i++) {
            REAL sum = c->assign ? 0 : c->grad_weights[s][i];
            for (int64_t g = 0; g < used; g++)
                if (c->count * g / GROUPS < c->count * (g + 1) / GROUPS) sum += groups[g * all + at + i];
            c->grad_weights[s][i] = sum;
        }
}

int gmlp_backward(const Cube *c, int32_t threads) {
    Queue queue = {.cube = c, .stop = c->count, .work = backward_cell};
    if (c->shared && c->learns) {
        queue.stop = GROUPS, queue.groups = malloc((size_t)(GROUPS * numbers(c)) * sizeof(REAL));
        if (!queue.groups) return 1;
    }
    int failed = run(&queue, threads);
    if (queue.groups && !failed) add_groups(c, queue.groups);
    free(queue.groups);
    const int64_t low = c->start - c->reach, high = c->start + c->count + c->reach;
    Queue back = {.cube = c, .next = low < 0 ? 0 : low, .stop = high > c->cells ? c->cells : high};
    return failed || run(&back, threads);
}

/* (rows, columns) -> (columns, rows) */
void gmlp_turn(const REAL *from, int64_t rows, int64_t columns, REAL *to) { turn(from, rows, columns, columns, to, rows); }

int64_t gmlp_chunk(void) { return CHUNK; }

int64_t gmlp_lanes(void) { return LANES; }

const Field *cube_fields(void) {
    static const Field all[] = {
        FIELD(Cube, cells), FIELD(Cube, batch), FIELD(Cube, features), FIELD(Cube, memory), FIELD(Cube, external),
        FIELD(Cube, widened), FIELD(Cube, front), FIELD(Cube, start), FIELD(Cube, count), FIELD(Cube, reach),
        FIELD(Cube, mixing), FIELD(Cube, leaky), FIELD(Cube, half), FIELD(Cube, shared), FIELD(Cube, assign),
        FIELD(Cube, learns), FIELD(Cube, step_size), FIELD(Cube, neighbours), FIELD(Cube, weights), FIELD(Cube, grad_weights),
        FIELD(Cube, narrow), FIELD(Cube, fire), FIELD(Cube, x), FIELD(Cube, face), FIELD(Cube, outside), FIELD(Cube, after),
        FIELD(Cube, grad_after), FIELD(Cube, grad_x), FIELD(Cube, grad_face), FIELD(Cube, grad_outside), FIELD(Cube, near),
        END_OF(Cube),
    };
    return all;
}

/* Fresh memory of this size that is about to be written from front to back: a fault for each 2 MB instead of each 4 KB. */
void gmlp_huge_pages(char *at, int64_t bytes) {
#ifdef MADV_HUGEPAGE
    const int64_t huge = 1 << 21;
    char *from = (char *)(((uintptr_t)at + huge - 1) / huge * huge);
    if (bytes > 4 * huge) madvise(from, (at + bytes - from) / huge * huge, MADV_HUGEPAGE);
#else
    (void)at, (void)bytes;
#endif
}
