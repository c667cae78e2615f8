/* The gradient of cells' own weights over all steps, and at once the step of the optimizer: cell by cell, so that a cell's weights
 * are read once, and its gradient never leaves the processor's cache. See gmlp.h.
 *
 * What flows between the cells is known already: each step has what flows into the states after it. So cells are independent. */
#include <pthread.h>

#include "gmlp.h"
#include "smooth.h"

typedef struct {
    const Cube *steps;
    const Adam *adam; /* NULL: gradients are written */
    int64_t number, next;
    int failed;
    pthread_mutex_t lock;
} Lesson;

/* One weight after the other (Kingma & Ba 2015; decoupled: Loshchilov & Hutter 2019), as torch computes them. */
static inline __attribute__((always_inline)) void move(const Adam *a, REAL *restrict w, REAL *restrict first,
                                                       REAL *restrict second, const REAL *restrict grad, int64_t n,
                                                       REAL *restrict largest) {
    const REAL rate = (REAL)(a->rate / a->correction1), one = (REAL)(1 - a->beta1), kept = (REAL)a->beta2;
    const REAL two = (REAL)(1 - a->beta2), level = (REAL)(1 / sqrt(a->correction2)), eps = (REAL)a->eps;
    const REAL left = (REAL)(1 - a->rate * a->decay), pull = (REAL)a->decay;
    for (int64_t i = 0; i < n; i++) {
        REAL x = w[i], g = grad[i];
        if (a->decoupled)
            x *= left;
        else
            g += pull * x;
        first[i] += (g - first[i]) * one;
        second[i] = second[i] * kept + two * g * g;
        x -= rate * first[i] / (SQRT(second[i]) * level + eps);
        w[i] = x;
        const REAL size = x < 0 ? -x : x;
        largest[i] = size > largest[i] ? size : largest[i];
    }
}

static void learn_slot(const Adam *a, int slot, int64_t cell, int64_t size, const REAL *grad, REAL *largest) {
    const int64_t from = cell * size;
    REAL *w = a->weights[slot] + from, *first = a->first[slot] + from, *second = a->second[slot] + from;
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) move(a, w + i, first + i, second + i, grad + i, LANES, largest);
    move(a, w + i, first + i, second + i, grad + i, size - i, largest);
}

static void begin(const Lesson *lesson, Work *k, int64_t cell, int64_t next, REAL *const *into) {
    const Adam *a = lesson->adam;
    cell_begin(k, cell, next, into, 1);
    for (int l = 0; a && l < (k->cube->mixing ? LINEARS : LOOK); l++) {
        const int64_t from = (cell - k->cube->start) * slot_size(k->cube, 2 * l);
        k->linears[l].beside[0] = a->first[2 * l] + from, k->linears[l].beside[1] = a->second[2 * l] + from;
    }
}

/* The gradient of one cell's weights, summed over all steps and samples. */
static void gradient(const Lesson *lesson, Work *k, int64_t cell, int64_t next, REAL *const *into) {
    int begun = 0;
    for (int64_t t = lesson->number - 1; t >= 0; t--) {
        const Cube *c = &lesson->steps[t];
        if (is_still(c, cell)) continue;
        k->cube = c;
        if (!begun) begin(lesson, k, cell, next, into);
        begun = 1;
        for (int64_t start = 0; start < c->batch; start += CHUNK) {
            chunk_at(k, start);
            cell_forward(k, 1), cell_backward(k);
            k->assign = 0;
        }
    }
    if (begun) {
        cell_end(k);
        return;
    }
    for (int s = 0; s < SLOTS; s++) memset(into[s], 0, slot_size(lesson->steps, s) * sizeof(REAL));
}

static void *serve(void *given) {
    Lesson *lesson = given;
    const Cube *c = lesson->steps;
    const Adam *a = lesson->adam;
    int64_t all = 0;
    for (int s = 0; s < SLOTS; s++) all += ROUND(slot_size(c, s));
    Work *k = work_new(c);
    REAL *room = aligned_alloc(64, ((size_t)(all + SLOTS * LANES) * sizeof(REAL) + 63) / 64 * 64);
    if (!k || !room) {
        free(k), free(room);
        return lesson->failed = 1, NULL;
    }
    REAL *largest = room + all;
    memset(largest, 0, SLOTS * LANES * sizeof(REAL));
    int64_t i = __atomic_fetch_add(&lesson->next, 1, __ATOMIC_RELAXED), next;
    for (; i < c->count; i = next) {
        next = __atomic_fetch_add(&lesson->next, 1, __ATOMIC_RELAXED);
        REAL *into[SLOTS], *at = room;
        for (int s = 0; s < SLOTS; at += ROUND(slot_size(c, s++)))
            into[s] = a ? at : c->grad_weights[s] ? c->grad_weights[s] + i * slot_size(c, s) : at;
        gradient(lesson, k, c->start + i, next < c->count ? c->start + next : -1, into);
        for (int s = 0; a && s < SLOTS; s++)
            if (slot_size(c, s)) learn_slot(a, s, i, slot_size(c, s), into[s], largest + s * LANES);
    }
    if (a) {
        pthread_mutex_lock(&lesson->lock);
        for (int64_t n = 0; n < SLOTS * LANES; n++)
            if (largest[n] > a->largest[n / LANES]) a->largest[n / LANES] = largest[n];
        pthread_mutex_unlock(&lesson->lock);
    }
    free(k), free(room);
    return NULL;
}

/* steps: the same block of cells in each, which differ in states, inputs and what flows into them. Returns whether memory failed. */
int gmlp_learn(const Cube *steps, int64_t number, const Adam *adam, int32_t threads) {
    Lesson lesson = {.steps = steps, .adam = adam, .number = number};
    pthread_t ids[64];
    int started = 0;
    pthread_mutex_init(&lesson.lock, NULL);
    while (started < 63 && started + 1 < threads && started + 1 < steps->count &&
           !pthread_create(&ids[started], NULL, serve, &lesson))
        started++;
    serve(&lesson);
    for (int k = 0; k < started; k++) pthread_join(ids[k], NULL);
    pthread_mutex_destroy(&lesson.lock);
    return lesson.failed;
}

const Field *adam_fields(void) {
    static const Field all[] = {
        FIELD(Adam, weights), FIELD(Adam, first), FIELD(Adam, second), FIELD(Adam, largest), FIELD(Adam, rate),
        FIELD(Adam, beta1), FIELD(Adam, beta2), FIELD(Adam, eps), FIELD(Adam, decay), FIELD(Adam, correction1),
        FIELD(Adam, correction2), FIELD(Adam, decoupled), END_OF(Adam),
    };
    return all;
}
