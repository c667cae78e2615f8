/* Some samples of one gMLP cell, one step forward and backward: `GMLPRule.cell` and its adjoint. See gmlp.h. */
#include "gmlp.h"
#include "smooth.h"

static const double AROUND_BY = 0.1, WEIGHTED_BY = 0.1, ACROSS_BY = 0.05; /* as in gmlp.py */

static REAL total(const REAL *x, int64_t count) {
    vec sum = {0};
    REAL all = 0;
    for (int64_t i = 0; i < count; i += LANES) sum += load(x + i);
    for (int64_t l = 0; l < LANES; l++) all += sum[l];
    return all;
}

static void gelu(REAL *restrict x, REAL *restrict slopes, int64_t count) {
    APART
    for (int64_t i = 0; i < count; i++) {
        REAL density;
        const REAL below = normal(x[i], &density);
        slopes[i] = below + x[i] * density;
        x[i] *= below;
    }
}

static void multiply_by(REAL *restrict x, const REAL *restrict y, int64_t count) {
    APART
    for (int64_t i = 0; i < count; i++) x[i] *= y[i];
}

/* ---- forward -------------------------------------------------------------------------------------------------------------- */

/* (6, samples), each sample's to sum 1. */
static void softmax(REAL *x, int64_t wide) {
    APART
    for (int64_t s = 0; s < wide; s++) {
        REAL top = x[s], sum = 0;
        for (int side = 1; side < SIDES; side++) top = x[side * wide + s] > top ? x[side * wide + s] : top;
        for (int side = 0; side < SIDES; side++) sum += x[side * wide + s] = exponential(x[side * wide + s] - top);
        sum = 1 / sum;
        for (int side = 0; side < SIDES; side++) x[side * wide + s] *= sum;
    }
}

/* x += 0.1 · weighted neighbours + 0.05 · across(d− neighbour) */
static void mix(Work *k) {
    const int64_t size = k->cube->features * k->wide, wide = k->wide;
    memcpy(k->pair, k->seen + SIDES * size, size * sizeof(REAL));
    APART
    for (int64_t i = 0; i < size; i++) {
        REAL sum = 0;
        for (int side = 0; side < SIDES; side++) sum += k->seen[side * size + i];
        k->pair[size + i] = sum * ((REAL)1 / SIDES);
    }
    linear_forward(k, LOOK, k->pair, k->looked, 0);
    APART
    for (int64_t i = 0; i < LOOK_WIDE * wide; i++) k->looked[i] = k->looked[i] < 0 ? 0 : k->looked[i];
    linear_forward(k, WEIGH, k->looked, k->share, 0);
    softmax(k->share, wide);
    linear_forward(k, ACROSS, k->seen, k->around, 0);
    for (int64_t i = 0; i < size; i += wide)
        APART
        for (int64_t s = 0; s < wide; s++) {
            REAL sum = 0;
            for (int side = 0; side < SIDES; side++) sum += k->share[side * wide + s] * k->seen[side * size + i + s];
            k->x[i + s] += (REAL)WEIGHTED_BY * sum + (REAL)ACROSS_BY * k->around[i + s];
        }
}

/* The gated recurrent unit: memory -> remembered. */
static void remember(Work *k) {
    const int64_t size = k->cube->memory * k->wide;
    const REAL *memory = k->state + k->cube->features * k->wide;
    linear_forward(k, RESET_IN, k->x, k->reset, 0), linear_forward(k, RESET_OF, memory, k->reset, 1);
    linear_forward(k, UPDATE_IN, k->x, k->update, 0), linear_forward(k, UPDATE_OF, memory, k->update, 1);
    linear_forward(k, CANDIDATE_IN, k->x, k->candidate, 0), linear_forward(k, CANDIDATE_OF, memory, k->old, 0);
    APART
    for (int64_t i = 0; i < size; i++) {
        k->reset[i] = sigmoid(k->reset[i]), k->update[i] = sigmoid(k->update[i]);
        k->candidate[i] = hyperbolic(k->candidate[i] + k->reset[i] * k->old[i]);
        k->remembered[i] = k->candidate[i] + k->update[i] * (memory[i] - k->candidate[i]);
    }
}

/* The states of those that fire, into `after`. */
static void move(Work *k) {
    const Cube *c = k->cube;
    const int64_t f = c->features, wide = k->wide;
    const REAL step = (REAL)c->step_size;
    linear_forward(k, CLOSE, k->levelled, k->out, 0), linear_forward(k, AROUND, k->seen, k->around, 0);
    APART
    for (int64_t i = 0; i < f * wide; i++) {
        const REAL change = k->out[i] + (REAL)AROUND_BY * k->around[i];
        k->out[i] = k->state[i] + step * (c->leaky ? change - k->state[i] : change);
    }
    memcpy(k->out + f * wide, k->remembered, c->memory * wide * sizeof(REAL));
    for (int64_t i = 0; i < (f + c->memory) * wide; i += wide)
        APART
        for (int64_t s = 0; s < wide; s++) {
            const REAL moved = k->out[i + s], still = k->state[i + s];
            k->out[i + s] = k->firing[s] > 0 ? moved : still;
        }
    put(k, k->out, f + c->memory, (REAL *)at(k, c->after, f + c->memory, k->cell), 0);
}

/* backward: what the backward pass needs, and no answer. */
void cell_forward(Work *k, int backward) {
    const Cube *c = k->cube;
    const int64_t size = c->features * k->wide;
    look(k);
    norm_forward(k, SEEN, k->seen, k->even, k->scaled);
    linear_forward(k, ENTER, k->scaled, k->entered, 0);
    linear_forward(k, SPLIT, k->entered, k->split, 0);
    gelu(k->split, k->slopes, 2 * size);
    norm_forward(k, GATE, k->split + size, k->calm, k->calmed);
    APART
    for (int64_t i = 0; i < size; i++) k->gated[i] = k->split[i] * (k->gate * k->calmed[i] + k->lift);
    linear_forward(k, WIDEN, k->gated, k->hidden, 0);
    gelu(k->hidden, k->hidden_slopes, c->widened * k->wide);
    memcpy(k->x, k->gated, size * sizeof(REAL));
    linear_forward(k, NARROW, k->hidden, k->x, 1);
    if (c->mixing) mix(k);
    remember(k);
    memcpy(k->recalled, k->x, size * sizeof(REAL));
    linear_forward(k, RECALL, k->remembered, k->recalled, 1);
    norm_forward(k, ENDING, k->recalled, k->level, k->levelled);
    if (!backward) move(k);
}

/* ---- backward ------------------------------------------------------------------------------------------------------------- */

/* What flows into the answer, and past it into the state itself. */
static void unmove(Work *k) {
    const Cube *c = k->cube;
    const int64_t f = c->features, wide = k->wide, size = f * wide;
    const REAL step = (REAL)c->step_size, left = c->leaky ? 1 - step : 1;
    take(k, at(k, c->grad_after, f + c->memory, k->cell), f + c->memory, k->grad_after);
    for (int64_t i = 0; i < size; i += wide)
        APART
        for (int64_t s = 0; s < wide; s++) {
            const REAL into = k->grad_after[i + s];
            k->grad_out[i + s] = k->firing[s] > 0 ? step * into : 0;
            k->grad_around[i + s] = (REAL)AROUND_BY * k->grad_out[i + s];
            k->grad_own[i + s] = k->firing[s] > 0 ? left * into : into;
        }
    for (int64_t i = 0; i < c->memory * wide; i += wide)
        APART
        for (int64_t s = 0; s < wide; s++) {
            const REAL into = k->grad_after[size + i + s];
            k->grad_memory[i + s] = k->firing[s] > 0 ? into : 0;
            k->grad_own[size + i + s] = k->firing[s] > 0 ? 0 : into;
        }
}

/* From grad_memory to grad_x (added) and grad_own. */
static void unremember(Work *k) {
    const int64_t size = k->cube->memory * k->wide;
    const REAL *memory = k->state + k->cube->features * k->wide;
    REAL *grad_memory = k->grad_own + k->cube->features * k->wide;
    REAL *reset = k->grad_gates, *update = reset + size, *candidate = update + size, *old = candidate + size;
    APART
    for (int64_t i = 0; i < size; i++) {
        const REAL into = k->grad_memory[i], r = k->reset[i], z = k->update[i], n = k->candidate[i];
        update[i] = into * (memory[i] - n) * z * (1 - z);
        candidate[i] = into * (1 - z) * (1 - n * n);
        reset[i] = candidate[i] * k->old[i] * r * (1 - r);
        old[i] = candidate[i] * r;
        grad_memory[i] += into * z;
    }
    linear_backward(k, RESET_IN, k->x, reset, k->grad_x, 1), linear_backward(k, RESET_OF, memory, reset, grad_memory, 1);
    linear_backward(k, UPDATE_IN, k->x, update, k->grad_x, 1), linear_backward(k, UPDATE_OF, memory, update, grad_memory, 1);
    linear_backward(k, CANDIDATE_IN, k->x, candidate, k->grad_x, 1);
    linear_backward(k, CANDIDATE_OF, memory, old, grad_memory, 1);
}

/* From grad_x to grad_perception, added. */
static void unmix(Work *k) {
    const int64_t size = k->cube->features * k->wide, wide = k->wide;
    REAL *across = k->grad_around, *share = k->grad_share, *seen = k->cube->grad_x ? k->grad_perception : NULL;
    APART
    for (int64_t i = 0; i < size; i++) across[i] = (REAL)ACROSS_BY * k->grad_x[i];
    linear_backward(k, ACROSS, k->seen, across, seen, 1);
    memset(share, 0, SIDES * wide * sizeof(REAL));
    for (int side = 0; side < SIDES; side++)
        for (int64_t i = 0; i < size; i += wide)
            APART
            for (int64_t s = 0; s < wide; s++) {
                const REAL into = (REAL)WEIGHTED_BY * k->grad_x[i + s];
                share[side * wide + s] += into * k->seen[side * size + i + s];
                if (seen) seen[side * size + i + s] += into * k->share[side * wide + s];
            }
    APART
    for (int64_t s = 0; s < wide; s++) {
        REAL mean = 0;
        for (int side = 0; side < SIDES; side++) mean += k->share[side * wide + s] * share[side * wide + s];
        for (int side = 0; side < SIDES; side++)
            share[side * wide + s] = k->share[side * wide + s] * (share[side * wide + s] - mean);
    }
    linear_backward(k, WEIGH, k->looked, share, k->grad_looked, 0);
    APART
    for (int64_t i = 0; i < LOOK_WIDE * wide; i++) k->grad_looked[i] = k->looked[i] > 0 ? k->grad_looked[i] : 0;
    linear_backward(k, LOOK, k->pair, k->grad_looked, seen ? k->grad_pair : NULL, 0);
    if (!seen) return;
    for (int side = 0; side < SIDES; side++)
        APART
        for (int64_t i = 0; i < size; i++) seen[side * size + i] += k->grad_pair[size + i] * ((REAL)1 / SIDES);
    APART
    for (int64_t i = 0; i < size; i++) seen[SIDES * size + i] += k->grad_pair[i];
}

/* From grad_x, what flows into the sum of gated and widened, to what flows into u and v before their GELU. */
static void ungate(Work *k) {
    const int64_t size = k->cube->features * k->wide;
    linear_backward(k, NARROW, k->hidden, k->grad_x, k->grad_hidden, 0);
    multiply_by(k->grad_hidden, k->hidden_slopes, k->cube->widened * k->wide);
    linear_backward(k, WIDEN, k->gated, k->grad_hidden, k->grad_x, 1);
    REAL *lifts = k->grad_calmed, *gates = k->grad_around;
    APART
    for (int64_t i = 0; i < size; i++) {
        k->grad_split[i] = k->grad_x[i] * (k->gate * k->calmed[i] + k->lift);
        lifts[i] = k->grad_x[i] * k->split[i];
        gates[i] = lifts[i] * k->calmed[i];
    }
    k->grad_lift += total(lifts, size), k->grad_gate += total(gates, size);
    APART
    for (int64_t i = 0; i < size; i++) k->grad_calmed[i] *= k->gate;
    norm_backward(k, GATE, k->grad_calmed, k->calm, k->grad_split + size, 0);
    multiply_by(k->grad_split, k->slopes, 2 * size);
}

/* From grad_after to grad_own, grad_perception and the weights. */
void cell_backward(Work *k) {
    unmove(k);
    REAL *seen = k->cube->grad_x ? k->grad_perception : NULL;
    linear_backward(k, AROUND, k->seen, k->grad_around, seen, 0);
    linear_backward(k, CLOSE, k->levelled, k->grad_out, k->grad_levelled, 0);
    norm_backward(k, ENDING, k->grad_levelled, k->level, k->grad_x, 0);
    linear_backward(k, RECALL, k->remembered, k->grad_x, k->grad_memory, 1);
    unremember(k);
    if (k->cube->mixing) unmix(k);
    ungate(k);
    linear_backward(k, SPLIT, k->entered, k->grad_split, k->grad_entered, 0);
    linear_backward(k, ENTER, k->scaled, k->grad_entered, k->grad_scaled, 0);
    norm_backward(k, SEEN, k->grad_scaled, k->even, seen, 1);
}
