/* Smooth functions, number by number, written so that compilers make vectors of their loops. In float they are polynomials within
 * 2e-7 of the largest value; in double they are the library's. What is not a number stays so.
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

/* The share of a normal distribution below x, and its density there (Abramowitz & Stegun 7.1.26). */
static inline float normal(float x, float *density) {
    const float away = x < 0 ? -x : x, e = exponential(-0.5f * x * x), t = 1.0f / (1.0f + 0.23164189f * away);
    float y = 0.5307027145f;
    y = y * t - 0.7265760135f, y = y * t + 0.7107068705f, y = y * t - 0.142248368f, y = y * t + 0.127414796f;
    const float tail = y * t * e;
    *density = 0.3989422804f * e;
    return x > 0 ? 1.0f - tail : tail;
}

static inline float hyperbolic(float x) { return 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f; }
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
