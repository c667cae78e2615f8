/* Smooth functions, number by number, written so that compilers make vectors of their loops. In float they are polynomials within
 * 1e-7 of the largest value; in double they are the library's. What is not a number stays so.
 */
#ifndef NCA3D_SMOOTH_H
#define NCA3D_SMOOTH_H

#include <math.h>

#include "rows.h"

#ifdef FLOATS
#define SQRT sqrtf
/* e^x = 2^n · e^r with |r| ≤ ln 2 / 2 (Cephes expf). */
static inline float exponential(float x) {
    x = x > 88.0f ? 88.0f : x, x = x < -87.0f ? -87.0f : x;
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f, y = y * r + 8.3334519073e-3f, y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f, y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    const uint32_t bits = ((uint32_t)(int32_t)n + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* The share of a normal distribution below x, and its density there. Tails are e^(−x²/2) · p(t), t = 1 / (1 + 0.34 |x|), with a
 * polynomial fitted to 1e-8 of absolute error.
 */
static inline float normal(float x, float *density) {
    const float away = x < 0 ? -x : x, e = exponential(-0.5f * x * x), t = 1.0f / (1.0f + 0.34f * away);
    float y = 0.0441948058f;
    y = y * t - 0.197636067f, y = y * t + 0.258719828f, y = y * t - 0.0256060849f;
    y = y * t + 0.153939747f, y = y * t + 0.130433094f, y = y * t + 0.135954688f;
    const float tail = y * t * e;
    *density = 0.3989422804f * e;
    return x > 0 ? 1.0f - tail : tail;
}

/* tanh x: near 0 a polynomial (Cephes tanhf), where 1 − 2 / (e^2x + 1) would cancel. */
static inline float hyperbolic(float x) {
    const float z = x * x, far = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
    float y = -5.70498872745e-3f;
    y = y * z + 2.06390887954e-2f, y = y * z - 5.37397155531e-2f, y = y * z + 1.33314422036e-1f, y = y * z - 3.33332819422e-1f;
    y = y * z * x + x;
    return z < 0.390625f ? y : far;
}
#else
#define SQRT sqrt
#define exponential exp
#define hyperbolic tanh

static inline double normal(double x, double *density) {
    *density = 0.39894228040143267794 * exp(-0.5 * x * x);
    return 0.5 * erfc(-0.70710678118654752440 * x);
}
#endif

static inline REAL sigmoid(REAL x) { return 1 / (1 + exponential(-x)); }

#endif
