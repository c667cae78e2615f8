/* Whole steps of living cells, forward and backward: what event_steps.py does in torch, without a call for each operation.
 *
 * A `Part` is some samples of a batch, run by one thread. The stores of its steps lie one after the other on a tape, memory of the
 * caller, where the backward pass finds them; without a tape two buffers take turns. A step that does not fit on the tape leaves
 * everything as it was, and the caller goes on with a new tape.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "rows.h"

typedef struct {
    int64_t tape, rows, fired;             /* which tape; how many rows its store has; how many of them fired */
    int64_t cells, x, fired_rows, new_row; /* byte offsets on it; cells may be an earlier step's; new_row -1: rows stay */
    int64_t kept;                          /* the same, what the layers saw of the rows that fired; -1: they see it again */
} Record;

typedef struct {
    Lattice *lattice; /* owned by the caller */
    Layers *net;
    Sight sight; /* taps, places and sizes; the rest is filled in for each block of rows */
    Fire fire;
    const uint8_t *masks; /* of step 0, or NULL */
    int64_t mask_step;    /* from one step's masks to the next */
    int64_t first_step;   /* absolute number of step 0 */
    int64_t alpha;
    double factor, threshold;
    /* the store before the next step */
    int64_t rows;
    const int32_t *cells;
    const REAL *x;
    const uint8_t *alive;
    /* where steps are recorded; NULL: they are not */
    char *tape;
    int64_t tape_number, tape_room, tape_used, cells_at;
    Record *records; /* of steps `recorded_from`, … */
    int64_t recorded_from;
    char *buffers[2];
    int64_t buffers_room[2];
    int32_t turn;
    /* work space */
    void *space;
    int64_t space_room;
    int64_t step, stop;
    int32_t failed; /* no memory */
    /* backward */
    char *const *tapes;
    REAL *grad_x; /* the gradients of the rows after the last step; in the end, of those before the first */
    int64_t grad_rows;
    REAL *grad_buffers[2];
    int64_t grad_room[2];
    int32_t learns_kernels, through_perception;
    int32_t fixed; /* every cell of the lattice has a row, and keeps it */
    int32_t keeps; /* whether what the layers see is kept on the tape, if they can use it: more memory, less work */
    /* A slab: the store has rows of other processes before and after its own, which are own_from .. own_to−1; own_to 0: it has
     * none. The caller puts the store of each step onto the tape, and makes it of what lies in `buffers` after the last one. */
    int64_t own_from, own_to;
} Part;

Part *part_new(void) { return calloc(1, sizeof(Part)); }

void part_free(Part *p) {
    free(p->buffers[0]), free(p->buffers[1]), free(p->grad_buffers[0]), free(p->grad_buffers[1]), free(p->space);
    layers_free(p->net), free(p);
}

const Field *part_fields(void) {
    static const Field all[] = {
        FIELD(Part, lattice), FIELD(Part, net), FIELD(Part, sight), FIELD(Part, fire), FIELD(Part, masks), FIELD(Part, mask_step),
        FIELD(Part, first_step), FIELD(Part, alpha), FIELD(Part, factor), FIELD(Part, threshold), FIELD(Part, rows),
        FIELD(Part, cells), FIELD(Part, x), FIELD(Part, alive), FIELD(Part, tape), FIELD(Part, tape_number),
        FIELD(Part, tape_room), FIELD(Part, tape_used), FIELD(Part, cells_at), FIELD(Part, records), FIELD(Part, recorded_from),
        FIELD(Part, buffers), FIELD(Part, buffers_room), FIELD(Part, turn), FIELD(Part, space), FIELD(Part, space_room),
        FIELD(Part, step), FIELD(Part, stop), FIELD(Part, failed), FIELD(Part, tapes), FIELD(Part, grad_x),
        FIELD(Part, grad_rows), FIELD(Part, grad_buffers), FIELD(Part, grad_room), FIELD(Part, learns_kernels),
        FIELD(Part, through_perception), FIELD(Part, fixed), FIELD(Part, keeps), FIELD(Part, own_from), FIELD(Part, own_to),
        END_OF(Part),
    };
    return all;
}

int64_t record_bytes(void) { return sizeof(Record); }

/* Bytes that a row that fires can keep on the tape. */
int64_t kept_bytes(const Part *p) { return layers_kept(p->net) * (int64_t)sizeof(uint32_t); }

/* Makes room for `need` bytes, with a quarter to spare, since bodies grow. What lay there is lost. Returns 0 without memory. */
static int room(void **at, int64_t *have, int64_t need) {
    if (need <= *have) return 1;
    free(*at);
    need += need / 4;
    *at = aligned_alloc(64, (size_t)(need + 63) / 64 * 64);
    *have = *at ? need : 0;
    return *at != NULL;
}

/* A long tape is touched from front to back: a fault for each 2 MB instead of each 4 KB. */
static void huge_pages(char *at, int64_t bytes) {
#ifdef MADV_HUGEPAGE
    const int64_t huge = 1 << 21;
    char *from = (char *)(((uintptr_t)at + huge - 1) / huge * huge);
    if (bytes > 4 * huge) madvise(from, (at + bytes - from) / huge * huge, MADV_HUGEPAGE);
#else
    (void)at, (void)bytes;
#endif
}

static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static char *on_tape(Part *p, int64_t bytes) {
    char *at = p->tape + p->tape_used;
    p->tape_used += aligned(bytes);
    return at;
}

/* One block of rows perceives, and the network runs on it; with `output` to its end, else to the input of its last layer. */
static REAL *propose(Part *p, const int32_t *cells, const int32_t *rows, const REAL *x, int64_t n, int output, uint32_t *keep) {
    Sight s = p->sight;
    s.lattice = p->lattice, s.cells = cells, s.rows = rows, s.x = (REAL *)x, s.perception = p->net->values[0];
    perceive(&s, n);
    return layers_forward(p->net, n, output, keep);
}

/* How many of the rows from the i-th on go through the network at once: rows of one sample, whose gradients are a sum of their own. */
static int64_t block_of(Part *p, const int32_t *cells, const int32_t *rows, int64_t i, int64_t count) {
    const int64_t volume = (int64_t)p->lattice->depth * p->lattice->height * p->lattice->width;
    const int64_t sample = cells[rows[i]] / volume, end = (sample + 1) * volume;
    int64_t low = i + 1, high = count - i < BLOCK ? count : i + BLOCK;
    if (p->net->sample != sample) layers_settle(p->net);
    p->net->sample = sample;
    if (cells[rows[high - 1]] < end) return high - i;
    while (low < high) { /* the first row of a later sample */
        const int64_t middle = (low + high) / 2;
        if (cells[rows[middle]] < end) low = middle + 1; else high = middle;
    }
    return low - i;
}

static void set_fire(Part *p, int64_t step) {
    p->fire.step = (uint32_t)(p->first_step + step);
    p->fire.mask = p->masks ? p->masks + step * p->mask_step : NULL;
}

/* The rows that survive thanks to the ring; NULL if there are none, or no memory. */
static uint8_t *survivors_by_ring(Part *p, const uint8_t *near, int64_t open, uint8_t *survivors) {
    const int64_t stride = p->sight.stride;
    int32_t *cells = malloc(27 * open * sizeof *cells);
    if (!cells) return p->failed = 1, NULL;
    const int64_t count = ring(p->lattice, &p->fire, p->cells, p->alive, near, p->rows, cells, 27 * open);
    memset(survivors, 0, p->rows);
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t n = count - i < BLOCK ? count - i : BLOCK;
        const REAL *change = propose(p, cells + i, NULL, p->x, n, 1, NULL);
        ring_survivors(p->lattice, cells + i, p->x, change, n, p->alpha, stride, stride, p->factor, p->threshold, survivors);
    }
    free(cells);
    return count ? survivors : NULL;
}

/* Narrows from .. to of the rows that fired, in order, to those of this process: no gradient comes to the others. */
static void own_fired(const Part *p, const int32_t *fired, int64_t *from, int64_t *to) {
    if (!p->own_to) return;
    while (*from < *to && fired[*from] < p->own_from) ++*from;
    while (*from < *to && fired[*to - 1] >= p->own_to) --*to;
}

/* Runs step p->step. Returns 0 if the tape has no room for it: nothing has changed then. */
static int forward(Part *p) {
    const int64_t n = p->rows, stride = p->sight.stride, row = stride * (int64_t)sizeof(REAL);
    if (!room(&p->space, &p->space_room, aligned(n * 4) + aligned(n * row) + 2 * aligned(n) + aligned(n * 4))) return p->failed = 1;
    char *space = p->space;
    int32_t *fired = (int32_t *)space;
    REAL *y = (REAL *)(space += aligned(n * 4));
    uint8_t *near = (uint8_t *)(space += aligned(n * row)), *survivor_space = (uint8_t *)(space += aligned(n));
    int32_t *new_row = (int32_t *)(space += aligned(n));

    set_fire(p, p->step);
    const int64_t count = fire_rows(p->lattice, &p->fire, p->cells, p->alive, n, fired);
    memcpy(y, p->x, n * row);
    /* What the layers see goes onto the tape as it arises; whether the rest of the step fits is known later. */
    const int64_t words = p->tape && p->keeps ? layers_kept(p->net) : 0, kept_at = p->tape_used;
    const int64_t kept_room = aligned(count * words * (int64_t)sizeof(uint32_t));
    if (words && kept_at + kept_room > p->tape_room) return 0;
    uint32_t *keep = words ? (uint32_t *)(p->tape + kept_at) : NULL;
    /* Blocks begin and end with this process's rows: they are the same on the way back, which has these alone. */
    int64_t from = 0, to = count;
    own_fired(p, fired, &from, &to);
    for (int64_t i = 0, some; i < count; i += some) {
        some = block_of(p, p->cells, fired, i, i < from ? from : i < to ? to : count);
        const REAL *change = propose(p, p->cells, fired + i, p->x, some, 1, keep ? keep + i * words : NULL);
        add_rows(y, fired + i, change, some, p->sight.channels, stride, stride, p->factor);
    }
    int64_t counts[2];
    if (mark(p->lattice, p->cells, y + p->alpha, p->alive, near, n, stride, p->threshold, counts)) return p->failed = 1;
    const int same = (int)counts[0];
    uint8_t *survivors = !same && counts[1] ? survivors_by_ring(p, near, counts[1], survivor_space) : NULL;
    if (p->failed) return 1;

    const int64_t after = same ? n : next_rows(p->lattice, p->alive, near, survivors, n, p->fixed);
    const int on_it = p->tape && !p->own_to; /* whether the store after the step lies on the tape too */
    const int64_t needed = aligned(after * row) + aligned(after) + (same && on_it ? 0 : aligned(after * 4));
    REAL *x;
    int32_t *cells = (int32_t *)p->cells;
    uint8_t *alive;
    if (p->tape) {
        const int64_t lists = aligned(count * 4) + (same ? 0 : aligned(n * 4));
        if (p->tape_used + kept_room + lists + (on_it ? needed : 0) > p->tape_room) return 0;
        p->tape_used += kept_room;
        Record *record = p->records + (p->step - p->recorded_from);
        *record = (Record){p->tape_number, n, to - from, p->cells_at, (char *)p->x - p->tape, p->tape_used + from * 4, -1,
                           keep ? kept_at + from * words * (int64_t)sizeof(uint32_t) : -1};
        memcpy(on_tape(p, count * 4), fired, count * 4);
        if (!same) record->new_row = p->tape_used, new_row = (int32_t *)on_tape(p, n * 4);
    }
    if (on_it) {
        x = (REAL *)on_tape(p, after * row);
        alive = (uint8_t *)on_tape(p, after);
        if (!same) p->cells_at = p->tape_used, cells = (int32_t *)on_tape(p, after * 4);
    } else {
        p->turn = !p->turn;
        if (!room((void **)&p->buffers[p->turn], &p->buffers_room[p->turn], needed)) return p->failed = 1;
        char *at = p->buffers[p->turn];
        x = (REAL *)at, cells = (int32_t *)(at += aligned(after * row)), alive = (uint8_t *)(at + aligned(after * 4));
        if (same) memcpy(cells, p->cells, n * 4);
    }
    if (same)
        memcpy(x, y, n * row), memcpy(alive, near, n);
    else
        grow(p->lattice, p->cells, y, p->alive, near, survivors, n, stride, p->fixed, cells, x, alive, new_row);
    p->rows = after, p->cells = cells, p->x = x, p->alive = alive, p->step++;
    return 1;
}

/* Steps up to p->stop, or until the tape is full. With a tape the store is copied to it first: its offsets are of this tape. */
static void run_forward(Part *p) {
    if (p->tape && !p->own_to) {
        const int64_t row = p->sight.stride * (int64_t)sizeof(REAL), n = p->rows;
        if (aligned(n * row) + aligned(n * 4) + aligned(n) > p->tape_room) return;
        p->tape_used = 0;
        huge_pages(p->tape, p->tape_room);
        p->x = memcpy(on_tape(p, n * row), p->x, n * row);
        p->cells_at = p->tape_used;
        p->cells = memcpy(on_tape(p, n * 4), p->cells, n * 4);
        p->alive = memcpy(on_tape(p, n), p->alive, n);
    }
    map_set(p->lattice, p->cells, p->rows);
    while (p->step < p->stop && !p->failed && forward(p)) {}
    map_clear(p->lattice, p->cells, p->rows);
}

/* Runs the step of `record` backward: p->grad_x, of the rows after it, becomes that of the rows before it. */
static void backward(Part *p, const Record *record, int through_perception) {
    char *tape = p->tapes[record->tape];
    const int64_t n = record->rows, stride = p->sight.stride;
    const int32_t *cells = (const int32_t *)(tape + record->cells), *fired = (const int32_t *)(tape + record->fired_rows);
    const REAL *x = (const REAL *)(tape + record->x);
    const int32_t *new_row = record->new_row < 0 ? NULL : (const int32_t *)(tape + record->new_row);
    if (new_row) {
        p->turn = !p->turn;
        if (!room((void **)&p->grad_buffers[p->turn], &p->grad_room[p->turn], n * stride * (int64_t)sizeof(REAL))) {
            p->failed = 1;
            return;
        }
        grow_backward(p->grad_x, new_row, p->grad_buffers[p->turn], n, stride);
        p->grad_x = p->grad_buffers[p->turn];
    }
    p->grad_rows = n;

    /* The gradients of the changes are read here, before any gradient of a perception is added to `grad_x`. */
    const int64_t numbers = (record->fired + BLOCK) * stride, taps = p->learns_kernels ? p->sight.kernels * 27 * stride : 0;
    if (!room(&p->space, &p->space_room, (numbers + taps) * (int64_t)sizeof(REAL))) {
        p->failed = 1;
        return;
    }
    REAL *grad_change = p->space, *grad_taps = grad_change + numbers;
    scaled_rows(p->grad_x, fired, grad_change, record->fired, stride, stride, stride, p->factor);
    map_set(p->lattice, cells, n);
    for (int64_t i = 0, some; i < record->fired; i += some) {
        some = block_of(p, cells, fired, i, record->fired);
        const uint32_t *kept = NULL;
        if (record->kept >= 0)
            kept = (const uint32_t *)(tape + record->kept) + i * layers_kept(p->net);
        else
            propose(p, cells, fired + i, x, some, 0, NULL);
        memcpy(p->net->grads[p->net->layers], grad_change + i * stride, some * stride * sizeof(REAL));
        Sight s = p->sight;
        s.lattice = p->lattice, s.cells = cells, s.rows = fired + i, s.perception = layers_backward(p->net, some, kept);
        s.x = (REAL *)x, s.grad_taps = memset(grad_taps, 0, taps * sizeof(REAL));
        if (p->learns_kernels) taps_backward(&s, some);
        /* The sum over a block first, then over all: a long sum that is made of short ones loses less. */
        REAL *all = p->sight.grad_taps + p->net->sample * taps;
        for (int64_t k = 0; k < taps; k++) all[k] += grad_taps[k];
        s.x = p->grad_x;
        if (through_perception) perceive_backward(&s, some);
    }
    layers_settle(p->net);
    map_clear(p->lattice, cells, n);
}

static void run_backward(Part *p) {
    while (p->step > p->stop && !p->failed) {
        p->step--;
        backward(p, p->records + (p->step - p->recorded_from), p->through_perception || p->step > p->stop);
    }
}

typedef struct {
    Part *const *parts;
    int32_t count, next;
    void (*work)(Part *);
} Queue;

static void *serve(void *argument) {
    Queue *q = argument;
    for (int32_t k; (k = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED)) < q->count;) q->work(q->parts[k]);
    return NULL;
}

/* Threads take parts from a queue and meet once a segment: waking one may cost as much as a whole step of a small body. */
static int run(Part *const *parts, int32_t count, int32_t threads, void (*work)(Part *)) {
    Queue queue = {parts, count, 0, work};
    pthread_t ids[64];
    int started = 0, failed = 0;
    while (started < 63 && started + 1 < threads && started + 1 < count && !pthread_create(&ids[started], NULL, serve, &queue))
        started++;
    serve(&queue);
    for (int k = 0; k < started; k++) pthread_join(ids[k], NULL);
    for (int32_t k = 0; k < count; k++) failed |= parts[k]->failed;
    return failed;
}

int parts_forward(Part *const *parts, int32_t count, int32_t threads) { return run(parts, count, threads, run_forward); }

int parts_backward(Part *const *parts, int32_t count, int32_t threads) { return run(parts, count, threads, run_backward); }
