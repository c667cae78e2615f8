/* Work on one cell: its weights, the room for what is computed of it, and what it sees. See gmlp.h. */
#include "gmlp.h"

static void linear_size(const Cube *c, int which, int64_t *in, int64_t *out) {
    const int64_t f = c->features, m = c->memory, w = c->widened, s = 7 * f + c->external;
    const int64_t sizes[LINEARS][2] = {
        [ENTER] = {s, f}, [SPLIT] = {f, 2 * f}, [WIDEN] = {f, w}, [NARROW] = {w, f},
        [RESET_IN] = {f, m}, [RESET_OF] = {m, m}, [UPDATE_IN] = {f, m}, [UPDATE_OF] = {m, m},
        [CANDIDATE_IN] = {f, m}, [CANDIDATE_OF] = {m, m}, [RECALL] = {m, f}, [CLOSE] = {f, f}, [AROUND] = {s, f},
        [LOOK] = {2 * f, LOOK_WIDE}, [WEIGH] = {LOOK_WIDE, SIDES}, [ACROSS] = {f, f},
    };
    *in = sizes[which][0], *out = sizes[which][1];
}

static int64_t norm_size(const Cube *c, int which) { return which == SEEN ? 7 * c->features + c->external : c->features; }

/* How many numbers a cell has in a slot. */
int64_t slot_size(const Cube *c, int slot) {
    int64_t in, out;
    if (slot >= OF_GATE) return slot == OF_GATE ? POSITIONS * POSITIONS : POSITIONS;
    if (slot >= OF_NORMS) return norm_size(c, (slot - OF_NORMS) / 2);
    if (slot / 2 >= LOOK && !c->mixing) return 0;
    linear_size(c, slot / 2, &in, &out);
    return slot % 2 ? out : in * out;
}

static REAL *some(char **at, int64_t numbers) { /* aligned, so that a vector never straddles two lines of cache */
    char *here = *at;
    *at = here + ((size_t)numbers * sizeof(REAL) + 63) / 64 * 64;
    return (REAL *)here;
}

/* Sets all pointers of a work space that begins at `room`; returns where it ends. */
static char *lay_out(Work *k, char *room) {
    const Cube *c = k->cube;
    const int64_t f = c->features, m = c->memory, w = c->widened, s = k->sights, e = CHUNK, widest = s > w ? s : w;
    struct {
        REAL **at;
        int64_t numbers;
    } rows[] = {
        {&k->state, f + m}, {&k->firing, 1}, {&k->seen, s}, {&k->even, s}, {&k->scaled, s}, {&k->entered, f}, {&k->split, 2 * f},
        {&k->slopes, 2 * f}, {&k->calm, f}, {&k->calmed, f}, {&k->gated, f}, {&k->hidden, w}, {&k->hidden_slopes, w}, {&k->x, f},
        {&k->pair, 2 * f}, {&k->looked, LOOK_WIDE}, {&k->share, SIDES}, {&k->reset, m}, {&k->update, m}, {&k->old, m},
        {&k->candidate, m}, {&k->remembered, m}, {&k->recalled, f}, {&k->level, f}, {&k->levelled, f}, {&k->out, f + m},
        {&k->around, f}, {&k->grad_after, f + m}, {&k->grad_own, f + m}, {&k->grad_out, f}, {&k->grad_around, f}, {&k->grad_x, f},
        {&k->grad_memory, m}, {&k->grad_memory_x, m}, {&k->grad_gates, 4 * m}, {&k->grad_levelled, f}, {&k->grad_pair, 2 * f},
        {&k->grad_looked, LOOK_WIDE}, {&k->grad_share, SIDES}, {&k->grad_hidden, w}, {&k->grad_split, 2 * f},
        {&k->grad_calmed, f}, {&k->grad_entered, f}, {&k->grad_scaled, s}, {&k->grad_perception, s},
        {&k->turned, ROUND(2 * widest + LOOK_WIDE)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i].at = some(&room, rows[i].numbers * e);
    for (int n = 0; n < NORMS; n++) {
        Norm *norm = &k->norms[n];
        norm->wide = norm_size(c, n);
        norm->scales = some(&room, norm->wide * LANES), norm->shifts = some(&room, norm->wide * LANES);
        norm->rate = some(&room, e);
    }
    int64_t all = 0, largest = widest * LANES;
    for (int l = 0; l < (c->mixing ? LINEARS : LOOK); l++) {
        Linear *linear = &k->linears[l];
        linear_size(c, l, &linear->in, &linear->out);
        all += linear->in * linear->out;
        const int64_t padded = linear->in * ROUND(linear->out);
        largest = largest < padded ? padded : largest;
    }
    k->spare = some(&room, largest);
    int64_t numbers = 0;
    for (int s = 0; s < SLOTS; s++) numbers += (slot_size(c, s) + 15) / 16 * 16;
    k->widened = some(&room, c->narrow[0] ? numbers : 0);
    k->pairs = (uint32_t *)some(&room, c->half ? all : 0);
    k->left = (uint32_t *)some(&room, (widest + LOOK_WIDE) * e), k->right = (uint32_t *)some(&room, (2 * widest + LOOK_WIDE) * e);
    return room;
}

/* Returns NULL where memory is missing; `free` gives it back. */
Work *work_new(const Cube *c) {
    Work counted = {.cube = c, .sights = 7 * c->features + c->external};
    const size_t bytes = (size_t)(lay_out(&counted, NULL) - (char *)NULL), head = (sizeof(Work) + 63) / 64 * 64;
    Work *k = aligned_alloc(64, head + bytes);
    if (!k) return NULL;
    *k = (Work){.cube = c, .sights = counted.sights};
    lay_out(k, (char *)k + head);
    return k;
}

/* Where the weights of a cell lie in full: as they are, or widened from bfloat16 into the work space, which stays in the cache. */
static void weights_of(Work *k, int64_t cell, const REAL **w) {
    const Cube *c = k->cube;
    REAL *room = k->widened;
    for (int s = 0; s < SLOTS; s++) {
        const int64_t size = slot_size(c, s), place = c->shared ? 0 : (cell - c->start) * size;
        if (!c->narrow[s]) {
            w[s] = c->weights[s] + place;
            continue;
        }
        const uint16_t *from = c->narrow[s] + place;
        APART
        for (int64_t i = 0; i < size; i++) {
            union { uint32_t bits; float number; } wide = {(uint32_t)from[i] << 16};
            room[i] = wide.number;
        }
        w[s] = room, room += (size + 15) / 16 * 16;
    }
}

/* next: the cell that this thread is given after it, or -1; into: where what flows into each slot goes. */
void cell_begin(Work *k, int64_t cell, int64_t next, REAL *const *into, int backward) {
    const Cube *c = k->cube;
    const REAL *w[SLOTS];
    weights_of(k, cell, w);
    uint32_t *pairs = k->pairs;
    for (int l = 0; l < (c->mixing ? LINEARS : LOOK); l++) {
        Linear *to = &k->linears[l];
        to->w = w[2 * l], to->bias = w[2 * l + 1], to->down = to->along = NULL;
        to->grad_w = c->learns && backward ? into[2 * l] : NULL, to->grad_bias = into[2 * l + 1];
        const int64_t further = next < 0 || c->shared || c->narrow[0] ? 0 : (next - cell) * slot_size(c, 2 * l);
        to->next_w = further ? to->w + further : NULL, to->next_into = further && to->grad_w && c->grad_weights[2 * l] ? to->grad_w + further : NULL;
        to->beside[0] = to->beside[1] = NULL;
        if (c->half) linear_halve(to, &pairs, !backward || (l != CLOSE && l != AROUND), backward);
    }
    for (int n = 0; n < NORMS; n++) {
        Norm *to = &k->norms[n];
        to->scale = w[OF_NORMS + 2 * n], to->shift = w[OF_NORMS + 2 * n + 1];
        to->grad_scale = c->learns && backward ? into[OF_NORMS + 2 * n] : NULL, to->grad_shift = into[OF_NORMS + 2 * n + 1];
        memset(to->scales, 0, to->wide * LANES * sizeof(REAL)), memset(to->shifts, 0, to->wide * LANES * sizeof(REAL));
    }
    /* Seven positions that hold the same vector: the gate's matrix is its sum, and the mean of seven such rows is one row. */
    k->gate = k->lift = k->grad_gate = k->grad_lift = 0;
    for (int i = 0; i < POSITIONS * POSITIONS; i++) k->gate += w[OF_GATE][i] / POSITIONS;
    for (int i = 0; i < POSITIONS; i++) k->lift += w[OF_GATE + 1][i] / POSITIONS;
    k->grad_positions = c->learns && backward ? into[OF_GATE] : NULL, k->grad_positions_bias = into[OF_GATE + 1];
    k->cell = cell, k->assign = c->assign;
}

/* The sums that wait for all samples of a cell. */
void cell_end(Work *k) {
    k->assign = k->cube->assign;
    for (int n = 0; n < NORMS; n++) norm_end(k, &k->norms[n]);
    if (!k->grad_positions) return;
    for (int i = 0; i < POSITIONS * POSITIONS; i++)
        k->grad_positions[i] = (k->assign ? 0 : k->grad_positions[i]) + k->grad_gate / POSITIONS;
    for (int i = 0; i < POSITIONS; i++)
        k->grad_positions_bias[i] = (k->assign ? 0 : k->grad_positions_bias[i]) + k->grad_lift / POSITIONS;
}

/* ---- samples in and out --------------------------------------------------------------------------------------------------- */

/* Where a cell's numbers of this chunk lie in (chunks, cells, numbers, samples). */
const REAL *at(const Work *k, const REAL *all, int64_t numbers, int64_t cell) {
    return all + (k->start * k->cube->cells + cell * k->samples) * numbers;
}

/* (numbers, samples) -> (numbers, wide), zeros beside. */
void take(const Work *k, const REAL *from, int64_t numbers, REAL *to) {
    if (k->samples == k->wide) {
        memcpy(to, from, numbers * k->wide * sizeof(REAL));
        return;
    }
    memset(to, 0, numbers * k->wide * sizeof(REAL));
    for (int64_t i = 0; i < numbers; i++)
        APART
        for (int64_t s = 0; s < k->samples; s++) to[i * k->wide + s] = from[i * k->samples + s];
}

/* (numbers, wide) -> (numbers, samples), written or added. */
void put(const Work *k, const REAL *from, int64_t numbers, REAL *to, int add) {
    if (k->samples == k->wide) {
        APART
        for (int64_t i = 0; i < numbers * k->wide; i++) to[i] = add ? to[i] + from[i] : from[i];
        return;
    }
    for (int64_t i = 0; i < numbers; i++)
        APART
        for (int64_t s = 0; s < k->samples; s++)
            to[i * k->samples + s] = from[i * k->wide + s] + (add ? to[i * k->samples + s] : 0);
}

/* What a cell shows to its neighbours, and sees of itself. */
static void show(Work *k, int64_t cell, REAL *to) {
    const Cube *c = k->cube;
    const int64_t f = c->features, n = k->samples;
    take(k, at(k, c->x, f + c->memory, cell), f, to);
    if (!c->face || cell >= c->front) return;
    const REAL *told = c->face + (k->start * c->front + cell * n) * f;
    for (int64_t i = 0; i < f; i++)
        APART
        for (int64_t s = 0; s < n; s++) to[i * k->wide + s] += told[i * n + s];
}

/* The state of the cell, who fires, and what it sees. */
void look(Work *k) {
    const Cube *c = k->cube;
    const int64_t f = c->features, size = f * k->wide;
    take(k, at(k, c->x, f + c->memory, k->cell), f + c->memory, k->state);
    APART
    for (int64_t s = 0; s < k->wide; s++)
        k->firing[s] = s < k->samples && (!c->fire || c->fire[(k->start + s) * c->cells + k->cell]);
    for (int side = 0; side < SIDES; side++) {
        const int32_t neighbour = c->neighbours[k->cell * SIDES + side];
        if (neighbour < c->cells)
            show(k, neighbour, k->seen + side * size);
        else
            memset(k->seen + side * size, 0, size * sizeof(REAL));
    }
    show(k, k->cell, k->seen + SIDES * size);
    if (c->outside)
        take(k, at(k, c->outside, c->external, k->cell), c->external, k->seen + 7 * size);
    else
        memset(k->seen + 7 * size, 0, c->external * k->wide * sizeof(REAL));
}
