/* The update network on blocks of rows: linear layers with ReLUs between them, forward, and backward with gradients.
 *
 * Rows are padded to whole vectors with zeros, so that only the loop over rows has a remainder.
 */
#include "product.h"
#include "rows.h"

#define FEW 8 /* blocks whose gradients are summed before they are added to those of all */

#if !HAS_HALF
/* Rounds to the nearest bfloat16, ties to even; NaN stays NaN. For processors without the instruction of half.h. */
static void round_to_half(REAL *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float f = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if ((bits & 0x7fffffffu) <= 0x7f800000u) bits += 0x7fffu + ((bits >> 16) & 1);
        bits &= 0xffff0000u;
        memcpy(&f, &bits, sizeof f);
        x[i] = f;
    }
}
#endif

/* ---- layers --------------------------------------------------------------------------------------------------------------- */

static REAL *zeros(int64_t count) { /* aligned, so that a vector never straddles two lines of cache */
    const size_t bytes = ((size_t)count * sizeof(REAL) + 127) / 64 * 64;
    REAL *p = aligned_alloc(64, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

static uint32_t *words(int64_t count) { return aligned_alloc(64, ((size_t)count * sizeof(uint32_t) + 127) / 64 * 64); }

void layers_free(Layers *net) {
    if (!net) return;
    REAL **lists[] = {net->weights,      net->transposed,  net->biases, net->grad_weights,
                      net->grad_biases, net->few_weights, net->values, net->grads};
    for (int which = 0; which < 8; which++) {
        for (int l = 0; lists[which] && l < net->layers + (which > 5); l++) free(lists[which][l]);
        free(lists[which]);
    }
    for (int l = 0; l < net->layers; l++) {
        if (net->weight_pairs) free(net->weight_pairs[l]);
        if (net->transposed_pairs) free(net->transposed_pairs[l]);
        if (net->seen) free(net->seen[l]);
    }
    free(net->seen), free(net->weight_pairs), free(net->transposed_pairs), free(net->left_pairs), free(net->right_pairs);
    free((void *)net->widths), free(net);
}

/* Adds the weights rounded to bfloat16, as pairs if half.h has a product of them. Returns 0 where memory is missing. */
static int round_weights(Layers *net) {
    int64_t widest = 0;
    for (int l = 0; l <= net->layers; l++) widest = widest < net->widths[l] ? ROUND(net->widths[l]) : widest;
    net->weight_pairs = calloc((size_t)net->layers, sizeof(uint32_t *));
    net->transposed_pairs = calloc((size_t)net->layers, sizeof(uint32_t *));
    net->seen = calloc((size_t)net->layers, sizeof(uint32_t *));
    net->left_pairs = words(BLOCK * widest), net->right_pairs = words(BLOCK * widest);
    if (!net->weight_pairs || !net->transposed_pairs || !net->seen || !net->left_pairs || !net->right_pairs) return 0;
    for (int l = 0; l < net->layers; l++) {
        const int64_t in = net->widths[l], out = net->widths[l + 1];
#if HAS_HALF
        net->weight_pairs[l] = words((out + 1) / 2 * ROUND(in)), net->transposed_pairs[l] = words(ROUND(in) / 2 * ROUND(out));
        net->seen[l] = words(BLOCK * ROUND(in) / 2);
        if (!net->weight_pairs[l] || !net->transposed_pairs[l] || !net->seen[l]) return 0;
        pairs_down(net->weights[l], out, ROUND(in), net->weight_pairs[l]);
        pairs_down(net->transposed[l], in, ROUND(out), net->transposed_pairs[l]);
#else
        round_to_half(net->weights[l], out * ROUND(in)), round_to_half(net->transposed[l], in * ROUND(out));
#endif
    }
    return 1;
}

/* A copy of a network with gradients for so many samples. weights: (out, in) of each layer; biases: (out), or NULL. Returns NULL where memory is missing. */
Layers *layers_new(int32_t layers, const int64_t *widths, const REAL *const *weights, const REAL *const *biases, int32_t half,
                   int64_t samples) {
    Layers *net = calloc(1, sizeof *net);
    if (!net) return NULL;
    net->layers = layers, net->half = half, net->samples = samples;
    int64_t *w = malloc((layers + 1) * sizeof *w);
    net->widths = w;
    REAL ***lists[] = {&net->weights,      &net->transposed,  &net->biases, &net->grad_weights,
                       &net->grad_biases, &net->few_weights, &net->values, &net->grads};
    int good = w != NULL;
    for (int which = 0; which < 8; which++) good &= (*lists[which] = calloc((size_t)layers + 1, sizeof(REAL *))) != NULL;
    if (good) memcpy(w, widths, (layers + 1) * sizeof *w);
    for (int l = 0; good && l <= layers; l++) {
        good &= (net->values[l] = zeros(BLOCK * ROUND(w[l]))) != NULL && (net->grads[l] = zeros(BLOCK * ROUND(w[l]))) != NULL;
        if (l == layers || !good) break;
        const int64_t in = w[l], out = w[l + 1];
        net->weights[l] = zeros(out * ROUND(in)), net->grad_weights[l] = zeros(samples * out * ROUND(in));
        net->transposed[l] = zeros(in * ROUND(out)), net->grad_biases[l] = zeros(samples * ROUND(out));
        net->biases[l] = biases[l] ? zeros(ROUND(out)) : NULL, net->few_weights[l] = zeros(out * ROUND(in));
        good &= net->few_weights[l] && net->weights[l] && net->grad_weights[l] && net->transposed[l] && net->grad_biases[l];
        good &= !biases[l] || net->biases[l];
        for (int64_t o = 0; good && o < out; o++) {
            if (biases[l]) net->biases[l][o] = biases[l][o];
            for (int64_t i = 0; i < in; i++)
                net->weights[l][o * ROUND(in) + i] = net->transposed[l][i * ROUND(out) + o] = weights[l][o * in + i];
        }
    }
    if (good && half) good = round_weights(net);
    if (!good) layers_free(net), net = NULL;
    return net;
}

/* Adds the sum over the last few blocks to that of their sample: before another sample's block comes, and where a step ends, so
 * that a sample's sum has one order, whoever is beside it. */
void layers_settle(Layers *net) {
    for (int l = 0; net->few && l < net->layers; l++) {
        const int64_t count = net->widths[l + 1] * ROUND(net->widths[l]);
        REAL *all = net->grad_weights[l] + net->sample * count, *few = net->few_weights[l];
        for (int64_t i = 0; i < count; i++) all[i] += few[i], few[i] = 0;
    }
    net->few = 0;
}

/* Starts a new sum of the gradients. */
void layers_clear(Layers *net) {
    layers_settle(net);
    for (int l = 0; l < net->layers; l++) {
        memset(net->grad_weights[l], 0, net->samples * net->widths[l + 1] * ROUND(net->widths[l]) * sizeof(REAL));
        memset(net->grad_biases[l], 0, net->samples * ROUND(net->widths[l + 1]) * sizeof(REAL));
    }
}

/* Adds the gradients of a layer's weights (out, in) and bias (out) by one sample, summed since `layers_clear`; either may be NULL. */
void layers_collect(const Layers *net, int32_t l, int64_t sample, REAL *weight, REAL *bias) {
    const int64_t in = net->widths[l], out = net->widths[l + 1];
    const REAL *weights = net->grad_weights[l] + sample * out * ROUND(in), *biases = net->grad_biases[l] + sample * ROUND(out);
    for (int64_t o = 0; o < out; o++) {
        if (bias) bias[o] += biases[o];
        for (int64_t i = 0; weight && i < in; i++) weight[o * in + i] += weights[o * ROUND(in) + i];
    }
}

/* Words of each row that a backward pass can use instead of running `layers_forward` again; 0: it has to. */
int64_t layers_kept(const Layers *net) {
    int64_t kept = 0;
    for (int l = 0; HAS_HALF && net->half && l < net->layers; l++) kept += ROUND(net->widths[l]) / 2;
    return kept;
}

/* values[l + 1] = values[l] · weights + bias; pairs: of values[l], if numbers are rounded */
static void through_layer(Layers *net, int l, int64_t rows, const uint32_t *pairs) {
    const int64_t in = net->widths[l], out = ROUND(net->widths[l + 1]);
#if HAS_HALF
    if (net->half) {
        HalfProduct p = {pairs, net->transposed_pairs[l], net->biases[l], net->values[l + 1], ROUND(in) / 2, 1,
                         out, 0, out, (in + 1) / 2};
        half_multiply(&p, rows, out);
        return;
    }
#else
    if (net->half) round_to_half(net->values[l], rows * ROUND(in));
#endif
    (void)pairs;
    Product p = {net->values[l], net->transposed[l], net->biases[l], net->values[l + 1], ROUND(in), 1, out, 0, out, in};
    multiply(&p, rows, out);
}

/* few_weights += gradᵀ · values and grads[l] = grads[l + 1] · weightsᵀ; pairs: of values[l], if numbers are rounded */
static void back_through_layer(Layers *net, int l, int64_t rows, const uint32_t *pairs) {
    const int64_t in = ROUND(net->widths[l]), out = net->widths[l + 1], wide = ROUND(out);
    REAL *grad = net->grads[l + 1], *weight = net->few_weights[l];
#if HAS_HALF
    if (net->half) {
        pairs_down(grad, rows, wide, net->left_pairs), pairs_turned(pairs, rows, in, net->right_pairs);
        HalfProduct sum = {net->left_pairs, net->right_pairs, weight, weight, 1, wide, in, in, in, (rows + 1) / 2};
        half_multiply(&sum, out, in);
        pairs_along(grad, rows, wide, net->left_pairs);
        HalfProduct back = {net->left_pairs, net->weight_pairs[l], NULL, net->grads[l], wide / 2, 1, in, 0, in, (out + 1) / 2};
        half_multiply(&back, rows, in);
        if (l > 0) where_positive(net->grads[l], pairs, rows * in);
        return;
    }
#else
    if (net->half) round_to_half(grad, rows * wide);
#endif
    (void)pairs;
    Product sum = {grad, net->values[l], weight, weight, 1, wide, in, in, in, rows};
    multiply(&sum, out, in);
    Product back = {grad, net->weights[l], NULL, net->grads[l], wide, 1, in, 0, in, out};
    multiply(&back, rows, in);
    REAL *to = net->grads[l], *value = net->values[l];
    for (int64_t i = 0; l > 0 && i < rows * in; i++) to[i] = value[i] > 0 ? to[i] : 0;
}

/* From values[0] to the output, or only to the input of the last layer, which is all that the backward pass needs.
 * keep: where to write what that needs of these rows, rows · `layers_kept` words; NULL: in the network, until the next rows. */
REAL *layers_forward(Layers *net, int64_t rows, int output, uint32_t *keep) {
    for (int l = 0; l < net->layers; l++) {
        uint32_t *pairs = NULL;
#if HAS_HALF
        if (net->half) {
            const int64_t in = ROUND(net->widths[l]);
            pairs = keep ? keep : net->seen[l];
            keep = keep ? keep + rows * in / 2 : NULL;
            (l ? pairs_along_relu : pairs_along)(net->values[l], rows, in, pairs);
        }
#else
        (void)keep;
#endif
        if (l + 1 == net->layers && !output) break;
        through_layer(net, l, rows, pairs);
        REAL *to = net->values[l + 1];
        const int relu = l + 1 < net->layers && !pairs;
        for (int64_t i = 0; relu && i < rows * ROUND(net->widths[l + 1]); i++) to[i] = to[i] > 0 ? to[i] : 0;
    }
    return net->values[net->layers];
}

/* From grads[layers] to the gradient of values[0]. kept: what `layers_forward` kept of these rows; NULL: it goes before. */
REAL *layers_backward(Layers *net, int64_t rows, const uint32_t *kept) {
    if (kept) kept += rows * layers_kept(net);
    for (int l = net->layers - 1; l >= 0; l--) {
        const int64_t wide = ROUND(net->widths[l + 1]);
        const REAL *grad = net->grads[l + 1];
        REAL *bias = net->grad_biases[l] + net->sample * wide;
        for (int64_t o = 0; o < wide; o += LANES) {
            vec sum = {0};
            for (int64_t i = 0; i < rows; i++) sum += load(grad + i * wide + o);
            *(vec *)(bias + o) += sum;
        }
        if (kept) kept -= rows * ROUND(net->widths[l]) / 2;
        back_through_layer(net, l, rows, kept ? kept : net->seen ? net->seen[l] : NULL);
    }
    if (++net->few == FEW) layers_settle(net);
    return net->grads[0];
}
