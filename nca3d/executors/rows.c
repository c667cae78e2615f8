/* What the event-driven executor does to rows of living cells beside matrix products: see rows_native.py, which builds this
 * file twice, with REAL = float and REAL = double, and event.py for the order of a step.
 *
 * A store holds the cells of interest as rows, sorted by their flat index (b·D + d)·H·W + h·W + w. Row 0 stands for every dead
 * cell and row 1 for what lies beyond the border, so that a neighbour always has a row; cells begin at row 2. The map, lattice
 * cell -> row (0 = none), is the one thing of the lattice's size: virtual memory, of which only pages near a body are touched.
 * Rows are `stride` numbers apart, a multiple of LANES, so that no loop over channels has a remainder.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef REAL
#define REAL float
#endif
#define LANES 16
#define DEAD 0
#define OUTSIDE 1
#define FIRST 2
#define MAX_THREADS 64
#define GRAIN 1024 /* rows below which a second thread costs more than it saves */

typedef REAL vec __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));
enum { ZEROS, REPLICATE, CIRCULAR };

typedef struct {
    int32_t *map;
    int32_t *born; /* cells that the last `mark` found beside a living one and outside the store, sorted */
    int64_t born_room, *born_count; /* of each sample, then of all */
    int64_t bytes;
    int32_t batch, depth, height, width, padding, threads;
} Lattice;

/* ---- threads: forked and joined for each call, which costs 20 µs and never spins ---------------------------------------- */

typedef struct {
    void (*work)(void *, int64_t, int64_t);
    void *job;
    int64_t from, to;
} Share;

static void *share(void *given) {
    Share *s = given;
    s->work(s->job, s->from, s->to);
    return NULL;
}

static void split(void (*work)(void *, int64_t, int64_t), void *job, int64_t n, int threads) {
    pthread_t ids[MAX_THREADS];
    Share shares[MAX_THREADS];
    int started = 0;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > n) threads = n > 0 ? (int)n : 1;
    int64_t done = 0;
    for (int k = 0; k + 1 < threads; k++) {
        int64_t to = n * (k + 1) / threads;
        shares[k] = (Share){work, job, done, to};
        if (pthread_create(&ids[started], NULL, share, &shares[k])) break;
        started++, done = to;
    }
    work(job, done, n);
    for (int k = 0; k < started; k++) pthread_join(ids[k], NULL);
}

static int threads_for(const Lattice *l, int64_t rows) {
    int64_t useful = rows / GRAIN;
    return useful < 2 ? 1 : useful < l->threads ? (int)useful : l->threads;
}

/* ---- the lattice ---------------------------------------------------------------------------------------------------------- */

Lattice *lattice_new(int32_t batch, int32_t depth, int32_t height, int32_t width, int32_t padding, int32_t threads) {
    Lattice *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->batch = batch, l->depth = depth, l->height = height, l->width = width, l->padding = padding, l->threads = threads;
    l->bytes = (int64_t)batch * depth * height * width * (int64_t)sizeof(int32_t);
    l->map = mmap(NULL, l->bytes ? l->bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    l->born_count = calloc((size_t)batch + 1, sizeof(int64_t));
    if (l->map == MAP_FAILED || !l->born_count) {
        free(l->born_count), free(l);
        return NULL;
    }
#ifdef MADV_NOHUGEPAGE
    madvise(l->map, l->bytes, MADV_NOHUGEPAGE); /* a small body must not pull in 2 MB for each line of the lattice */
#endif
    return l;
}

void lattice_free(Lattice *l) {
    munmap(l->map, l->bytes ? l->bytes : 1);
    free(l->born), free(l->born_count), free(l);
}

static int64_t volume(const Lattice *l) { return (int64_t)l->depth * l->height * l->width; }

static int wrap(int at, int side, int padding) {
    if (at >= 0 && at < side) return at;
    if (padding == CIRCULAR) return at < 0 ? side - 1 : 0;
    return padding == REPLICATE ? (at < 0 ? 0 : side - 1) : -1;
}

/* The cells in the 3×3×3 around `cell`, -1 beyond a border of zeros. Returns 1 if all 27 lie at fixed offsets of it. */
static inline int around_border(const Lattice *l, int64_t cell, int64_t at[27]) {
    const int64_t plane = (int64_t)l->height * l->width, v = plane * l->depth;
    const int64_t start = cell / v * v, r = cell - start;
    const int d = (int)(r / plane), h = (int)(r % plane / l->width), w = (int)(r % l->width);
    if (d > 0 && d < l->depth - 1 && h > 0 && h < l->height - 1 && w > 0 && w < l->width - 1) return 1;
    int k = 0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            for (int m = -1; m <= 1; m++, k++) {
                int nd = wrap(d + i, l->depth, l->padding), nh = wrap(h + j, l->height, l->padding),
                    nw = wrap(w + m, l->width, l->padding);
                at[k] = nd < 0 || nh < 0 || nw < 0 ? -1 : start + nd * plane + (int64_t)nh * l->width + nw;
            }
    return 0;
}

static inline void around_inside(const Lattice *l, int64_t cell, int64_t at[27]) {
    const int64_t plane = (int64_t)l->height * l->width;
    int k = 0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            for (int m = -1; m <= 1; m++) at[k++] = cell + i * plane + j * (int64_t)l->width + m;
}

/* The rows of the 27 cells around `cell`. */
static inline void neighbours(const Lattice *l, int64_t cell, int32_t rows[27]) {
    int64_t at[27];
    if (around_border(l, cell, at)) {
        const int64_t plane = (int64_t)l->height * l->width;
        const int32_t *p = l->map + cell - plane - l->width - 1;
        for (int i = 0; i < 3; i++, p += plane)
            for (int j = 0; j < 3; j++)
                for (int m = 0; m < 3; m++) rows[9 * i + 3 * j + m] = p[j * (int64_t)l->width + m];
    } else
        for (int k = 0; k < 27; k++) rows[k] = at[k] < 0 ? OUTSIDE : l->map[at[k]];
}

void map_set(Lattice *l, const int32_t *cells, int64_t n) {
    for (int64_t row = FIRST; row < n; row++) l->map[cells[row]] = (int32_t)row;
}

void map_clear(Lattice *l, const int32_t *cells, int64_t n) {
    for (int64_t row = FIRST; row < n; row++) l->map[cells[row]] = 0;
}

/* ---- which cells fire: MurmurHash3 of (step, sample id, cell), as fire.py has it ------------------------------------------ */

typedef struct {
    const uint8_t *mask; /* given masks (all samples, this step), or NULL: draw */
    uint32_t seed, step;
    uint64_t below; /* fire_rate · 2³² */
    const int32_t *ids;
} Fire;

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
        count += pre[row] && fires(f, prefix, cells[row], sample * v);
    }
    return count;
}

/* ---- perception: K kernels of 27 taps, each tap a number for each channel ------------------------------------------------- */

typedef struct {
    const Lattice *l;
    const int32_t *cells, *rows; /* the cell of each row; the rows asked for, or NULL: `cells` itself is asked for */
    REAL *x;                     /* states, or what flows back into them */
    const REAL *taps;            /* (K, 27, stride) */
    const int32_t *place;        /* (K + 1): where each kernel's channels go in what is seen; last: the cell itself, or -1 */
    REAL *seen;                  /* (n, kinds · channels) */
    REAL *into_taps;             /* (K, 27, stride) */
    int64_t kernels, kinds, channels, stride;
} Sight;

static inline vec load(const REAL *p) { return *(const vec *)p; }

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
                                                               REAL *seen) {
    const int64_t far = 27 * s->stride;
    for (int64_t c = 0; c < s->channels; c += LANES) {
        const REAL *taps = s->taps + first * far + c;
        vec sum[K > 0 ? K : 1];
        for (int k = 0; k < K; k++) sum[k] = (vec){0};
        for (int o = 0; o < 27; o++) {
            const vec x = load(s->x + rows[o] * s->stride + c);
            for (int k = 0; k < K; k++) sum[k] += load(taps + k * far + o * s->stride) * x;
        }
        for (int k = 0; k < K; k++) store_part(seen + s->place[first + k] * s->channels + c, sum[k], s->channels - c);
    }
}

static void perceive_some(void *job, int64_t from, int64_t to) {
    const Sight *s = job;
    const int64_t wide = s->kinds * s->channels, own = s->place[s->kernels];
    for (int64_t i = from; i < to; i++) {
        int32_t rows[27];
        neighbours(s->l, s->rows ? s->cells[s->rows[i]] : s->cells[i], rows);
        REAL *seen = s->seen + i * wide;
        int64_t k = 0;
        for (; k + 4 <= s->kernels; k += 4) perceive_with(4, k, s, rows, seen);
        switch (s->kernels - k) {
        case 3: perceive_with(3, k, s, rows, seen); break;
        case 2: perceive_with(2, k, s, rows, seen); break;
        case 1: perceive_with(1, k, s, rows, seen); break;
        }
        if (own >= 0) memcpy(seen + own * s->channels, s->x + rows[13] * s->stride, s->channels * sizeof(REAL));
    }
}

void perceive(Sight *s, int64_t n) { split(perceive_some, s, n, threads_for(s->l, n)); }

/* The adjoint of `perceive`: x[neighbour] += tap · seen. */
static inline __attribute__((always_inline)) void unperceive_with(const int K, int64_t first, const Sight *s,
                                                                 const int32_t *rows, const REAL *seen) {
    const int64_t far = 27 * s->stride;
    for (int64_t c = 0; c < s->channels; c += LANES) {
        const REAL *taps = s->taps + first * far + c;
        vec into[K > 0 ? K : 1];
        for (int k = 0; k < K; k++) into[k] = load_part(seen + s->place[first + k] * s->channels + c, s->channels - c);
        for (int o = 0; o < 27; o++) {
            if (rows[o] < FIRST) continue; /* constants; and threads would fight for these two rows */
            REAL *x = s->x + rows[o] * s->stride + c;
            vec sum = load(x);
            for (int k = 0; k < K; k++) sum += load(taps + k * far + o * s->stride) * into[k];
            *(vec *)x = sum;
        }
    }
}

static void unperceive_some(const Sight *s, int64_t from, int64_t to) {
    const int64_t wide = s->kinds * s->channels, own = s->place[s->kernels];
    for (int64_t i = from; i < to; i++) {
        int32_t rows[27];
        neighbours(s->l, s->cells[s->rows[i]], rows);
        const REAL *seen = s->seen + i * wide;
        int64_t k = 0;
        for (; k + 4 <= s->kernels; k += 4) unperceive_with(4, k, s, rows, seen);
        switch (s->kernels - k) {
        case 3: unperceive_with(3, k, s, rows, seen); break;
        case 2: unperceive_with(2, k, s, rows, seen); break;
        case 1: unperceive_with(1, k, s, rows, seen); break;
        }
        if (own >= 0)
            for (int64_t c = 0; c < s->channels; c += LANES) {
                vec *x = (vec *)(s->x + rows[13] * s->stride + c);
                *x += load_part(seen + own * s->channels + c, s->channels - c);
            }
    }
}

/* Rows from..to of a list that belong to samples `from`..`to`: the list is sorted by cell. */
static int64_t first_of(const int32_t *cells, const int32_t *rows, int64_t n, int64_t cell) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (cells[rows ? rows[middle] : middle] < cell)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct {
    const Sight *s;
    int64_t n;
} BySample;

static void unperceive_samples(void *job, int64_t from, int64_t to) {
    const BySample *b = job;
    const Sight *s = b->s;
    const int64_t v = volume(s->l);
    unperceive_some(s, first_of(s->cells, s->rows, b->n, from * v), first_of(s->cells, s->rows, b->n, to * v));
}

/* Threads take whole samples: two cells of one sample may add to the same neighbour, cells of two samples never do. */
void unperceive(Sight *s, int64_t n) {
    BySample job = {s, n};
    const int threads = threads_for(s->l, n);
    split(unperceive_samples, &job, s->l->batch, threads);
}

/* What flows into the taps themselves, for kernels that are learned. */
void unperceive_taps(Sight *s, int64_t n) {
    const int64_t wide = s->kinds * s->channels;
    for (int64_t i = 0; i < n; i++) {
        int32_t rows[27];
        neighbours(s->l, s->cells[s->rows[i]], rows);
        for (int64_t k = 0; k < s->kernels; k++)
            for (int64_t c = 0; c < s->channels; c += LANES) {
                const vec into = load_part(s->seen + i * wide + s->place[k] * s->channels + c, s->channels - c);
                for (int o = 0; o < 27; o++) {
                    vec *tap = (vec *)(s->into_taps + (k * 27 + o) * s->stride + c);
                    *tap += into * load(s->x + rows[o] * s->stride + c);
                }
            }
    }
}

/* ---- moving rows ---------------------------------------------------------------------------------------------------------- */

/* x[row] += factor · change, for the rows that changed. */
void add_rows(REAL *x, const int32_t *rows, const REAL *change, int64_t n, int64_t channels, int64_t stride, double factor) {
    for (int64_t i = 0; i < n; i++) {
        REAL *to = x + rows[i] * stride;
        for (int64_t c = 0; c < channels; c++) to[c] += (REAL)factor * change[i * channels + c];
    }
}

/* out[i] = factor · x[rows[i]]. */
void take_rows(const REAL *x, const int32_t *rows, REAL *out, int64_t n, int64_t channels, int64_t stride, double factor) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++) out[i * channels + c] = (REAL)factor * x[rows[i] * stride + c];
}

/* What flows into each row from the row that it became; nothing from those that died (next = 0). */
void carry_back(const REAL *after, const int32_t *next, REAL *before, int64_t n, int64_t stride) {
    memset(before, 0, FIRST * stride * sizeof(REAL));
    for (int64_t row = FIRST; row < n; row++) {
        if (next[row])
            memcpy(before + row * stride, after + next[row] * stride, stride * sizeof(REAL));
        else
            memset(before + row * stride, 0, stride * sizeof(REAL));
    }
}

/* ---- who lives on ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    Lattice *l;
    const int32_t *cells;
    const REAL *alpha; /* of row r at alpha[r · stride], or NULL: `core` says who is alive */
    const uint8_t *core;
    uint8_t *near;
    int32_t *born;
    int64_t n, stride;
    REAL threshold;
} Mark;

static int compare(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int alive_row(const Mark *m, int64_t row) {
    return m->alpha ? m->alpha[row * m->stride] > m->threshold : m->core[row];
}

/* One sample: near = rows at or beside a living one; born = cells beside one that have no row yet. */
static void mark_samples(void *job, int64_t from, int64_t to) {
    const Mark *m = job;
    Lattice *l = m->l;
    const int64_t v = volume(l), plane = (int64_t)l->height * l->width;
    for (int64_t sample = from; sample < to; sample++) {
        const int64_t begin = FIRST + first_of(m->cells + FIRST, NULL, m->n - FIRST, sample * v);
        const int64_t end = FIRST + first_of(m->cells + FIRST, NULL, m->n - FIRST, (sample + 1) * v);
        int32_t *born = m->born ? m->born + 27 * (begin - FIRST) : NULL;
        int64_t count = 0;
        for (int64_t row = begin; row < end; row++) {
            if (!alive_row(m, row)) continue;
            int64_t at[27];
            const int64_t cell = m->cells[row];
            if (around_border(l, cell, at)) {
                int32_t *p = l->map + cell - plane - l->width - 1;
                int missing = 0;
                for (int i = 0; i < 3; i++, p += plane)
                    for (int j = 0; j < 3; j++)
                        for (int w = 0; w < 3; w++) {
                            const int32_t there = p[j * (int64_t)l->width + w];
                            m->near[there > 0 ? there : 0] = 1;
                            missing |= there <= 0;
                        }
                if (!missing) continue;
                around_inside(l, cell, at);
            }
            for (int k = 0; k < 27; k++) {
                if (at[k] < 0) continue;
                const int32_t there = l->map[at[k]];
                if (there > 0) m->near[there] = 1;
                if (there == 0) l->map[at[k]] = -1, born[count++] = (int32_t)at[k]; /* -1: already in the list */
            }
        }
        qsort(born, count, sizeof *born, compare);
        for (int64_t k = 0; k < count; k++) l->map[born[k]] = 0;
        l->born_count[sample] = count;
    }
}

/* near (n bytes) = 1 for rows at or beside a living one; cells without a row are kept for `grow`. counts: whether the store stays
 * as it is, and how many rows were alive and are not near. Returns 1 where memory is missing. alpha NULL: `pre` says who lives. */
int mark(Lattice *l, const int32_t *cells, const REAL *alpha, const uint8_t *pre, uint8_t *near, int64_t n, int64_t stride,
         double threshold, int64_t counts[2]) {
    const int64_t room = 27 * (n - FIRST) + 1;
    if (room > l->born_room) { /* virtual memory again: only touched where cells are born */
        free(l->born);
        l->born = malloc(2 * room * sizeof *l->born);
        l->born_room = l->born ? 2 * room : 0;
        if (!l->born) return 1;
    }
    memset(near, 0, n);
    Mark job = {l, cells, alpha, pre, near, l->born, n, stride, (REAL)threshold};
    split(mark_samples, &job, l->batch, threads_for(l, n));
    near[DEAD] = near[OUTSIDE] = 0;
    int64_t born = 0, open = 0, steady = 0;
    for (int64_t sample = 0; sample < l->batch; sample++) { /* the samples' lists, put end to end */
        const int64_t begin = first_of(cells + FIRST, NULL, n - FIRST, sample * volume(l));
        memmove(l->born + born, l->born + 27 * begin, l->born_count[sample] * sizeof *l->born);
        born += l->born_count[sample];
    }
    l->born_count[l->batch] = born;
    for (int64_t row = FIRST; row < n; row++) open += pre[row] & !near[row], steady += pre[row] & near[row];
    counts[0] = !born && steady == n - FIRST, counts[1] = open;
    return 0;
}

/* Rows alive before and not near: their fate hangs on cells of the ring, outside and firing. Those cells, sorted, once each. */
int64_t ring(const Lattice *l, const Fire *f, const int32_t *cells, const uint8_t *pre, const uint8_t *near, int64_t n,
             int32_t *out, int64_t room) {
    const int64_t v = volume(l);
    int64_t count = 0;
    for (int64_t row = FIRST; row < n; row++) {
        if (!pre[row] || near[row]) continue;
        int64_t at[27];
        if (around_border(l, cells[row], at)) around_inside(l, cells[row], at);
        const int64_t sample = cells[row] / v;
        const uint32_t prefix = prefix_of(f, sample);
        for (int k = 0; k < 27; k++)
            if (at[k] >= 0 && !pre[l->map[at[k]]] && fires(f, prefix, at[k], sample * v)) {
                if (count < room) out[count] = (int32_t)at[k];
                count++;
            }
    }
    if (count > room) return count;
    qsort(out, count, sizeof *out, compare);
    int64_t kept = 0;
    for (int64_t k = 0; k < count; k++)
        if (!kept || out[kept - 1] != out[k]) out[kept++] = out[k];
    return kept;
}

/* Ring cells whose alpha, changed, is above the threshold keep the rows beside them: kept = 1. */
void ring_keeps(const Lattice *l, const int32_t *ring_cells, const REAL *x, const REAL *change, int64_t n, int64_t alpha,
                int64_t channels, int64_t stride, double factor, double threshold, uint8_t *kept) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at[27];
        const REAL now = x[l->map[ring_cells[i]] * stride + alpha] + (REAL)factor * change[i * channels + alpha];
        if (!(now > (REAL)threshold)) continue;
        if (around_border(l, ring_cells[i], at)) around_inside(l, ring_cells[i], at);
        for (int k = 0; k < 27; k++)
            if (at[k] >= 0) kept[l->map[at[k]]] = 1;
    }
    kept[DEAD] = kept[OUTSIDE] = 0;
}

/* How many rows the next store has: those near, those kept, those born. kept may be NULL. */
int64_t next_rows(const Lattice *l, const uint8_t *pre, const uint8_t *near, const uint8_t *kept, int64_t n) {
    int64_t count = FIRST + l->born_count[l->batch];
    for (int64_t row = FIRST; row < n; row++) count += near[row] | (kept && pre[row] && kept[row]);
    return count;
}

/* The next store: rows that live on with their states, rows that died but are near with the dead value, the newly born.
 * next[row] = the row that it became if it lived, else 0. The map follows. */
void grow(Lattice *l, const int32_t *cells, const REAL *x, const uint8_t *pre, const uint8_t *near, const uint8_t *kept, int64_t n,
          int64_t stride, int32_t *new_cells, REAL *new_x, uint8_t *new_pre, int32_t *next) {
    const size_t bytes = stride * sizeof(REAL);
    const int32_t *born = l->born, *last = born + l->born_count[l->batch];
    int64_t to = 0;
    for (; to < FIRST; to++) {
        new_cells[to] = -1, new_pre[to] = 0, next[to] = 0;
        memcpy(new_x + to * stride, x + to * stride, bytes);
    }
    for (int64_t row = FIRST; row <= n; row++) {
        for (; born < last && (row == n || *born < cells[row]); born++, to++) {
            new_cells[to] = *born, new_pre[to] = 1, l->map[*born] = (int32_t)to;
            memcpy(new_x + to * stride, x, bytes);
        }
        if (row == n) break;
        const int holds = kept && pre[row] && kept[row], alive = pre[row] && (near[row] || holds);
        next[row] = 0;
        l->map[cells[row]] = 0;
        if (!near[row] && !holds) continue;
        new_cells[to] = cells[row], new_pre[to] = near[row], l->map[cells[row]] = (int32_t)to;
        memcpy(new_x + to * stride, alive ? x + row * stride : x, bytes);
        if (alive) next[row] = (int32_t)to;
        to++;
    }
}
