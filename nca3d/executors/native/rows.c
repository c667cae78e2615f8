/* All of an event-driven step but the matrix products, on rows of living cells: event.py has the order of a step, steps.c its
 * code. The folder is built twice, with REAL = float and with REAL = double.
 *
 * A store holds the cells of interest as rows, sorted by their flat index (b·D + d)·H·W + h·W + w. Row 0 stands for every dead
 * cell and row 1 for what lies beyond the border, so that a neighbour always has a row; cells begin at row 2. The map, lattice
 * cell -> row (0 = none), is the one thing of the lattice's size: virtual memory, of which only pages near a body are touched.
 * Rows are `stride` numbers apart, a multiple of LANES, so that no loop over channels has a remainder.
 */
#include "rows.h"

#include <sys/mman.h>

const Field *fire_fields(void) {
    static const Field all[] = {FIELD(Fire, mask), FIELD(Fire, seed), FIELD(Fire, step), FIELD(Fire, below), FIELD(Fire, ids),
                                END_OF(Fire)};
    return all;
}

const Field *sight_fields(void) {
    static const Field all[] = {
        FIELD(Sight, lattice), FIELD(Sight, cells), FIELD(Sight, rows), FIELD(Sight, x), FIELD(Sight, taps), FIELD(Sight, place),
        FIELD(Sight, perception), FIELD(Sight, grad_taps), FIELD(Sight, kernels), FIELD(Sight, wide), FIELD(Sight, channels),
        FIELD(Sight, stride), FIELD(Sight, sobel), FIELD(Sight, away), END_OF(Sight),
    };
    return all;
}

/* ---- the lattice ---------------------------------------------------------------------------------------------------------- */

Lattice *lattice_new(int32_t batch, int32_t depth, int32_t height, int32_t width, int32_t padding) {
    Lattice *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->batch = batch, l->depth = depth, l->height = height, l->width = width, l->padding = padding;
    l->bytes = (int64_t)batch * depth * height * width * (int64_t)sizeof(int32_t);
    l->map = mmap(NULL, l->bytes ? l->bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (l->map == MAP_FAILED) {
        free(l);
        return NULL;
    }
#ifdef MADV_NOHUGEPAGE
    madvise(l->map, l->bytes, MADV_NOHUGEPAGE); /* a small body must not pull in 2 MB for each line of the lattice */
#endif
    return l;
}

void lattice_free(Lattice *l) {
    munmap(l->map, l->bytes ? l->bytes : 1);
    free(l->born), free(l);
}

int32_t lanes(void) { return (int32_t)LANES; }

static int64_t volume(const Lattice *l) { return (int64_t)l->depth * l->height * l->width; }

static int wrap(int at, int side, int padding) {
    if (at >= 0 && at < side) return at;
    if (padding == CIRCULAR) return at < 0 ? side - 1 : 0;
    return padding == REPLICATE ? (at < 0 ? 0 : side - 1) : -1;
}

/* Where the present cell lies. Lists are sorted, so most cells lie in the same line as the one before and need no division. */
typedef struct {
    int64_t line, start; /* the first cell of its line, and of its sample */
    int d, h, w, inner;  /* inner: no border in d or h */
} Walk;

static const Walk AT_NO_LINE = {INT64_MIN / 2, 0, 0, 0, 0, 0};

/* Goes to `cell` and returns whether its 27 neighbours all lie at fixed offsets from it (no border is near). */
static inline int go(const Lattice *l, Walk *k, int64_t cell) {
    if ((uint64_t)(cell - k->line) >= (uint64_t)l->width) {
        const int64_t v = volume(l), line = cell / l->width;
        k->line = line * l->width, k->start = cell / v * v;
        k->h = (int)(line % l->height), k->d = (int)(line / l->height % l->depth);
        k->inner = k->d > 0 && k->d < l->depth - 1 && k->h > 0 && k->h < l->height - 1;
    }
    k->w = (int)(cell - k->line);
    return k->inner && k->w > 0 && k->w < l->width - 1;
}

/* The 27 cells around the present one and itself, -1 beyond a border of zeros. */
static inline void around(const Lattice *l, const Walk *k, int64_t at[27]) {
    int d[3], h[3], w[3];
    for (int i = 0; i < 3; i++) {
        d[i] = wrap(k->d + i - 1, l->depth, l->padding), h[i] = wrap(k->h + i - 1, l->height, l->padding);
        w[i] = wrap(k->w + i - 1, l->width, l->padding);
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const int64_t line = k->start + ((int64_t)d[i] * l->height + h[j]) * l->width;
            const int out = d[i] < 0 || h[j] < 0;
            for (int m = 0; m < 3; m++) *at++ = out || w[m] < 0 ? -1 : line + w[m];
        }
}

/* The rows of the 27 cells around `cell`. */
static inline void neighbours(const Lattice *l, Walk *k, int64_t cell, int32_t rows[27]) {
    if (go(l, k, cell)) {
        const int64_t plane = (int64_t)l->height * l->width;
        const int32_t *p = l->map + cell - plane - l->width - 1;
        for (int i = 0; i < 3; i++, p += plane)
            for (int j = 0; j < 3; j++)
                for (int m = 0; m < 3; m++) rows[9 * i + 3 * j + m] = p[j * (int64_t)l->width + m];
    } else {
        int64_t at[27];
        around(l, k, at);
        for (int o = 0; o < 27; o++) rows[o] = at[o] < 0 ? OUTSIDE : l->map[at[o]];
    }
}

void map_set(Lattice *l, const int32_t *cells, int64_t n) {
    for (int64_t row = FIRST; row < n; row++) l->map[cells[row]] = (int32_t)row;
}

void map_clear(Lattice *l, const int32_t *cells, int64_t n) {
    for (int64_t row = FIRST; row < n; row++) l->map[cells[row]] = 0;
}

/* ---- which cells fire: MurmurHash3 of (step, sample id, cell), as fire.py has it ------------------------------------------ */

static inline uint32_t rotate(uint32_t x, int bits) { return (x << bits) | (x >> (32 - bits)); }

static inline uint32_t absorb(uint32_t h, uint32_t k) {
    h ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
    return rotate(h, 13) * 5 + 0xe6546b64u;
}

static inline int fires(const Fire *f, uint32_t prefix, int64_t cell, int64_t start) {
    if (f->mask) return f->mask[cell];
    if (f->below >> 32) return 1;
    uint32_t h = absorb(prefix, (uint32_t)(cell - start)) ^ 12;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return (h ^ (h >> 16)) < f->below;
}

static uint32_t prefix_of(const Fire *f, int64_t sample) {
    return f->mask ? 0 : absorb(absorb(f->seed, f->step), (uint32_t)f->ids[sample]);
}

/* Whether a row is alive and this process has to know what becomes of it. */
static inline int lives_here(uint8_t pre) { return (pre & (NEAR | LENT)) == NEAR; }

/* The rows that fire and are alive, in order; returns how many. */
int64_t fire_rows(const Lattice *l, const Fire *f, const int32_t *cells, const uint8_t *pre, int64_t n, int32_t *rows) {
    const int64_t v = volume(l);
    int64_t count = 0, sample = -1, end = 0;
    uint32_t prefix = 0;
    for (int64_t row = FIRST; row < n; row++) {
        if (cells[row] >= end) {
            sample = cells[row] / v, end = (sample + 1) * v;
            prefix = prefix_of(f, sample);
        }
        rows[count] = (int32_t)row;
        count += lives_here(pre[row]) && fires(f, prefix, cells[row], sample * v);
    }
    return count;
}

/* ---- perception: K kernels of 27 taps, each tap a number for each channel ------------------------------------------------- */

static inline vec load_part(const REAL *p, int64_t n) {
    vec x = {0};
    if (n >= LANES) return load(p);
    memcpy(&x, p, n * sizeof(REAL));
    return x;
}

static inline void store_part(REAL *p, vec x, int64_t n) {
    if (n >= LANES)
        *(vec *)p = x;
    else
        memcpy(p, &x, n * sizeof(REAL));
}

static inline __attribute__((always_inline)) void perceive_with(const int K, int64_t first, const Sight *s, const int32_t *rows,
                                                               REAL *perception) {
    const int64_t far = 27 * s->stride;
    for (int64_t c = 0; c < s->channels; c += LANES) {
        const REAL *taps = s->taps + first * far + c;
        vec sum[K > 0 ? K : 1];
        for (int k = 0; k < K; k++) sum[k] = (vec){0};
        for (int o = 0; o < 27; o++) {
            const vec x = load(s->x + rows[o] * s->stride + c);
            for (int k = 0; k < K; k++) sum[k] += load(taps + k * far + o * s->stride) * x;
        }
        for (int k = 0; k < K; k++) store_part(perception + s->place[first + k] * s->channels + c, sum[k], s->channels - c);
    }
}

/* The three Sobel kernels at once, axis by axis: lines are smoothed (1 2 1) and differenced (-1 0 1), then planes, then all. With
 * `curved` a kernel that weighs a neighbour by how many axes it is away comes with them. */
static inline __attribute__((always_inline)) void perceive_sobel(const int curved, const Sight *s, const int32_t *rows,
                                                                REAL *perception) {
    for (int64_t c = 0; c < s->channels; c += LANES) {
        vec x_slope[3], y_slope[3], smooth[3], curve = {0};
        for (int i = 0; i < 3; i++) {
            vec even[3], odd[3];
            for (int j = 0; j < 3; j++) {
                const int32_t *r = rows + 9 * i + 3 * j;
                const int away = (i != 1) + (j != 1);
                const vec left = load(s->x + r[0] * s->stride + c), right = load(s->x + r[2] * s->stride + c);
                const vec middle = load(s->x + r[1] * s->stride + c), sides = left + right;
                even[j] = sides + 2 * middle, odd[j] = right - left;
                if (curved) curve += (REAL)s->away[away + 1] * sides, curve += (REAL)s->away[away] * middle;
            }
            smooth[i] = even[0] + even[2] + 2 * even[1];
            y_slope[i] = even[2] - even[0];
            x_slope[i] = odd[0] + odd[2] + 2 * odd[1];
        }
        const int64_t n = s->channels - c;
        store_part(perception + s->place[0] * s->channels + c, (x_slope[0] + x_slope[2] + 2 * x_slope[1]) / 32, n);
        store_part(perception + s->place[1] * s->channels + c, (y_slope[0] + y_slope[2] + 2 * y_slope[1]) / 32, n);
        store_part(perception + s->place[2] * s->channels + c, (smooth[2] - smooth[0]) / 32, n);
        if (curved) store_part(perception + s->place[3] * s->channels + c, curve, n);
    }
}

void perceive(const Sight *s, int64_t n) {
    const int64_t wide = s->wide, own = s->place[s->kernels];
    Walk walk = AT_NO_LINE;
    for (int64_t i = 0; i < n; i++) {
        int32_t rows[27];
        neighbours(s->lattice, &walk, s->rows ? s->cells[s->rows[i]] : s->cells[i], rows);
        REAL *perception = s->perception + i * wide;
        int64_t k = 0;
        if (s->sobel == 2)
            perceive_sobel(1, s, rows, perception), k = 4;
        else if (s->sobel)
            perceive_sobel(0, s, rows, perception), k = 3;
        for (; k + 3 <= s->kernels; k += 3) perceive_with(3, k, s, rows, perception);
        for (; k < s->kernels; k++) perceive_with(1, k, s, rows, perception);
        if (own >= 0) memcpy(perception + own * s->channels, s->x + rows[13] * s->stride, s->channels * sizeof(REAL));
    }
}

static inline void add_to(const Sight *s, int32_t row, int64_t c, vec grad) {
    if (row < FIRST) return; /* the dead value and the border are constants */
    vec *x = (vec *)(s->x + row * s->stride + c);
    *x += grad;
}

/* The adjoint of `perceive`: x[neighbour] += tap · perception, where both are gradients. */
static inline __attribute__((always_inline)) void perceive_backward_with(const int K, int64_t first, const Sight *s,
                                                                        const int32_t *rows, const REAL *perception) {
    const int64_t far = 27 * s->stride;
    for (int64_t c = 0; c < s->channels; c += LANES) {
        const REAL *taps = s->taps + first * far + c;
        vec grad[K > 0 ? K : 1];
        for (int k = 0; k < K; k++) grad[k] = load_part(perception + s->place[first + k] * s->channels + c, s->channels - c);
        for (int o = 0; o < 27; o++) {
            vec sum = {0};
            for (int k = 0; k < K; k++) sum += load(taps + k * far + o * s->stride) * grad[k];
            add_to(s, rows[o], c, sum);
        }
    }
}

static inline __attribute__((always_inline)) void perceive_backward_sobel(const int curved, const Sight *s, const int32_t *rows,
                                                                         const REAL *perception) {
    for (int64_t c = 0; c < s->channels; c += LANES) {
        const int64_t n = s->channels - c;
        const vec gx = load_part(perception + s->place[0] * s->channels + c, n) / 32,
                  gy = load_part(perception + s->place[1] * s->channels + c, n) / 32,
                  gz = load_part(perception + s->place[2] * s->channels + c, n) / 32,
                  curve = curved ? load_part(perception + s->place[3] * s->channels + c, n) : (vec){0};
        const vec x_slope[3] = {gx, 2 * gx, gx}, y_slope[3] = {gy, 2 * gy, gy}, z_slope[3] = {-gz, 0 * gz, gz};
        for (int i = 0; i < 3; i++) {
            const vec odd[3] = {x_slope[i], 2 * x_slope[i], x_slope[i]};
            const vec even[3] = {z_slope[i] - y_slope[i], 2 * z_slope[i], z_slope[i] + y_slope[i]};
            for (int j = 0; j < 3; j++) {
                const int32_t *r = rows + 9 * i + 3 * j;
                const int away = (i != 1) + (j != 1);
                const vec sides = curved ? even[j] + (REAL)s->away[away + 1] * curve : even[j];
                add_to(s, r[0], c, sides - odd[j]);
                add_to(s, r[1], c, curved ? 2 * even[j] + (REAL)s->away[away] * curve : 2 * even[j]);
                add_to(s, r[2], c, sides + odd[j]);
            }
        }
    }
}

void perceive_backward(const Sight *s, int64_t n) {
    const int64_t wide = s->wide, own = s->place[s->kernels];
    Walk walk = AT_NO_LINE;
    for (int64_t i = 0; i < n; i++) {
        int32_t rows[27];
        neighbours(s->lattice, &walk, s->cells[s->rows[i]], rows);
        const REAL *perception = s->perception + i * wide;
        int64_t k = 0;
        if (s->sobel == 2)
            perceive_backward_sobel(1, s, rows, perception), k = 4;
        else if (s->sobel)
            perceive_backward_sobel(0, s, rows, perception), k = 3;
        for (; k + 3 <= s->kernels; k += 3) perceive_backward_with(3, k, s, rows, perception);
        for (; k < s->kernels; k++) perceive_backward_with(1, k, s, rows, perception);
        if (own >= 0)
            for (int64_t c = 0; c < s->channels; c += LANES)
                add_to(s, rows[13], c, load_part(perception + own * s->channels + c, s->channels - c));
    }
}

/* The gradients of the taps, for learned kernels. */
void taps_backward(const Sight *s, int64_t n) {
    const int64_t wide = s->wide;
    Walk walk = AT_NO_LINE;
    for (int64_t i = 0; i < n; i++) {
        int32_t rows[27];
        neighbours(s->lattice, &walk, s->cells[s->rows[i]], rows);
        for (int64_t k = 0; k < s->kernels; k++)
            for (int64_t c = 0; c < s->channels; c += LANES) {
                const vec grad = load_part(s->perception + i * wide + s->place[k] * s->channels + c, s->channels - c);
                for (int o = 0; o < 27; o++) {
                    vec *tap = (vec *)(s->grad_taps + (k * 27 + o) * s->stride + c);
                    *tap += grad * load(s->x + rows[o] * s->stride + c);
                }
            }
    }
}

/* ---- moving rows ---------------------------------------------------------------------------------------------------------- */

/* x[rows[i]] += factor · change[i]. */
void add_rows(REAL *x, const int32_t *rows, const REAL *change, int64_t n, int64_t channels, int64_t wide, int64_t stride,
              double factor) {
    for (int64_t i = 0; i < n; i++) {
        REAL *to = x + rows[i] * stride;
        for (int64_t c = 0; c < channels; c++) to[c] += (REAL)factor * change[i * wide + c];
    }
}

/* out[i] = factor · x[rows[i]]. */
void scaled_rows(const REAL *x, const int32_t *rows, REAL *out, int64_t n, int64_t channels, int64_t wide, int64_t stride,
                 double factor) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++) out[i * wide + c] = (REAL)factor * x[rows[i] * stride + c];
}

/* The gradient of each row is that of the row that it became; 0 for rows that died (new_row = 0). */
void grow_backward(const REAL *after, const int32_t *new_row, REAL *before, int64_t n, int64_t stride) {
    memset(before, 0, FIRST * stride * sizeof(REAL));
    for (int64_t row = FIRST; row < n; row++) {
        if (new_row[row])
            memcpy(before + row * stride, after + new_row[row] * stride, stride * sizeof(REAL));
        else
            memset(before + row * stride, 0, stride * sizeof(REAL));
    }
}

/* ---- who lives on ----------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Lists a cell that gets a row in the next store. Returns 1 where memory is missing. */
static int born(Lattice *l, int64_t cell) {
    if (l->born_count == l->born_room) {
        const int64_t room = 2 * l->born_room + 1024;
        int32_t *more = realloc(l->born, room * sizeof *more);
        if (!more) return 1;
        l->born = more, l->born_room = room;
    }
    l->born[l->born_count++] = (int32_t)cell;
    l->map[cell] = -1; /* so that no other neighbour lists it again */
    return 0;
}

/* Writes near[row]: NEAR for rows at or beside one whose alpha, at alpha[row · stride], is above the threshold, and CORE for
 * that one. Cells beside it that have no row are listed for `grow`. Writes counts: whether the store stays as it is, and how many
 * rows were alive and are not near; rows that are lent count for neither. Returns 1 where memory is missing. */
int mark(Lattice *l, const int32_t *cells, const REAL *alpha, const uint8_t *pre, uint8_t *near, int64_t n, int64_t stride,
         double threshold, int64_t counts[2]) {
    Walk walk = AT_NO_LINE;
    int failed = 0;
    l->born_count = 0;
    near[DEAD] = near[OUTSIDE] = 0;
    for (int64_t row = FIRST; row < n; row++) {
        const int core = alpha[row * stride] > (REAL)threshold;
        near[row] = core ? NEAR | CORE : 0;
        if (!core || (pre[row] & CORE)) continue; /* the store has all neighbours of cells that were above it before */
        int64_t at[27];
        go(l, &walk, cells[row]), around(l, &walk, at);
        for (int k = 0; k < 27 && !failed; k++)
            if (at[k] >= 0 && l->map[at[k]] == 0) failed = born(l, at[k]);
    }
    if (l->born_count) qsort(l->born, l->born_count, sizeof *l->born, compare);
    for (int64_t k = 0; k < l->born_count; k++) l->map[l->born[k]] = 0;

    int64_t open = 0, steady = 0;
    walk = AT_NO_LINE;
    for (int64_t row = FIRST; row < n; row++) {
        if (!near[row]) {
            int32_t rows[27];
            neighbours(l, &walk, cells[row], rows);
            int core = 0;
            for (int k = 0; k < 27; k++) core |= near[rows[k]];
            if (core & CORE) near[row] = NEAR;
        }
        const int asked = lives_here(pre[row]), is_near = near[row] & NEAR;
        open += asked && !is_near, steady += (asked && is_near) || (pre[row] & LENT);
    }
    counts[0] = !l->born_count && steady == n - FIRST, counts[1] = open;
    return failed;
}

/* A row that was alive and is not near lives on only if a firing cell beside it, which was not alive, has alpha enough now.
 * These cells are the ring: sorted, each once. Returns how many; more than `room` means that `out` is not complete. */
int64_t ring(const Lattice *l, const Fire *f, const int32_t *cells, const uint8_t *pre, const uint8_t *near, int64_t n,
             int32_t *out, int64_t room) {
    const int64_t v = volume(l);
    int64_t count = 0;
    Walk walk = AT_NO_LINE;
    for (int64_t row = FIRST; row < n; row++) {
        if (!lives_here(pre[row]) || (near[row] & NEAR)) continue;
        int64_t at[27];
        go(l, &walk, cells[row]), around(l, &walk, at);
        const int64_t sample = cells[row] / v;
        const uint32_t prefix = prefix_of(f, sample);
        for (int k = 0; k < 27; k++)
            if (at[k] >= 0 && !(pre[l->map[at[k]]] & NEAR) && fires(f, prefix, at[k], sample * v)) {
                if (count < room) out[count] = (int32_t)at[k];
                count++;
            }
    }
    if (count > room) return count;
    qsort(out, count, sizeof *out, compare);
    int64_t unique = 0;
    for (int64_t k = 0; k < count; k++)
        if (!unique || out[unique - 1] != out[k]) out[unique++] = out[k];
    return unique;
}

/* Marks the rows beside ring cells whose alpha, after their change, is above the threshold: those rows survive. */
void ring_survivors(const Lattice *l, const int32_t *ring_cells, const REAL *x, const REAL *change, int64_t n, int64_t alpha,
                    int64_t wide, int64_t stride, double factor, double threshold, uint8_t *survivors) {
    Walk walk = AT_NO_LINE;
    for (int64_t i = 0; i < n; i++) {
        int64_t at[27];
        const REAL now = x[l->map[ring_cells[i]] * stride + alpha] + (REAL)factor * change[i * wide + alpha];
        if (!(now > (REAL)threshold)) continue;
        go(l, &walk, ring_cells[i]), around(l, &walk, at);
        for (int k = 0; k < 27; k++)
            if (at[k] >= 0) survivors[l->map[at[k]]] = 1;
    }
    survivors[DEAD] = survivors[OUTSIDE] = 0;
}

/* How many rows the next store has: those near, the survivors (or NULL) and the newly born; with `fixed` all of this one. */
int64_t next_rows(const Lattice *l, const uint8_t *pre, const uint8_t *near, const uint8_t *survivors, int64_t n,
                  int32_t fixed) {
    int64_t count = FIRST + l->born_count;
    if (fixed) return n + l->born_count;
    for (int64_t row = FIRST; row < n; row++) count += near[row] || (survivors && (pre[row] & NEAR) && survivors[row]);
    return count;
}

/* Writes the next store: rows that live on, with their states; rows that died but are near (or fixed), with the dead value; and
 * the newly born. new_row[row] = its row there if it lives on, else 0. The map is that of the next store then. */
void grow(Lattice *l, const int32_t *cells, const REAL *x, const uint8_t *pre, const uint8_t *near, const uint8_t *survivors,
          int64_t n, int64_t stride, int32_t fixed, int32_t *new_cells, REAL *new_x, uint8_t *new_pre, int32_t *new_row) {
    const size_t bytes = stride * sizeof(REAL);
    const int32_t *born = l->born, *last = born + l->born_count;
    int64_t to = 0;
    for (; to < FIRST; to++) {
        new_cells[to] = -1, new_pre[to] = 0, new_row[to] = 0;
        memcpy(new_x + to * stride, x + to * stride, bytes);
    }
    for (int64_t row = FIRST; row <= n; row++) {
        for (; born < last && (row == n || *born < cells[row]); born++, to++) {
            new_cells[to] = *born, new_pre[to] = NEAR, l->map[*born] = (int32_t)to;
            memcpy(new_x + to * stride, x, bytes);
        }
        if (row == n) break;
        const int survives = survivors && (pre[row] & NEAR) && survivors[row];
        const int alive = (pre[row] & NEAR) && (near[row] || survives);
        new_row[row] = 0;
        l->map[cells[row]] = 0;
        if (!near[row] && !survives && !fixed) continue;
        new_cells[to] = cells[row], new_pre[to] = near[row], l->map[cells[row]] = (int32_t)to;
        memcpy(new_x + to * stride, alive ? x + row * stride : x, bytes);
        if (alive) new_row[row] = (int32_t)to;
        to++;
    }
}
