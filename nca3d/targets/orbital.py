"""The hydrogen atom's orbitals, computed: real wave functions as bodies."""

from __future__ import annotations

import math

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.fit import Size
from nca3d.targets.options import check_share
from nca3d.targets.sculpt import Shape, Solid, ball, carve


def hydrogen(
    size: Size, *, margin: int = 1, n: int = 3, degree: int = 2, order: int = 0, threshold: float = 0.12
) -> np.ndarray:
    """Hydrogen orbital: warm where the wave is positive, cool where negative (options n, degree, order; default 3d z²).

    The body is where |psi| is at least `threshold` of its greatest value; a small nucleus joins lobes that meet there.

    Raises:
        InputError: quantum numbers outside 1 <= n <= 6, 0 <= degree < n, -degree <= order <= degree.
    """
    where = "target 'hydrogen'"
    threshold = check_share(threshold, where)
    for name, value, low, high in (("n", n, 1, 6), ("degree", degree, 0, n), ("order", order, -degree, degree)):
        top = high - 1 if name == "degree" else high
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= top:
            raise InputError(where, name, repr(value), f"a whole number in {low}..{top}")
    axis = np.linspace(-1, 1, 81) * n * (2 * n + 8)  # in Bohr radii: beyond this the wave is nothing
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    wave = np.abs(psi(x, y, z, n, degree, order))
    level = threshold * float(wave.max())
    reach = [float(np.abs(side[wave >= level]).max() + axis[1] - axis[0]) for side in (x, y, z)]

    def test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.abs(psi(x, y, z, n, degree, order)) >= level

    def paint(points: np.ndarray) -> np.ndarray:
        value = psi(points[:, 0], points[:, 1], points[:, 2], n, degree, order)
        bright = np.clip(np.abs(value) / (level / threshold), 0, 1)[:, None] ** 0.5
        warm = np.array([0.80, 0.16, 0.30]) * (1 - bright) + np.array([1.0, 0.80, 0.25]) * bright
        cool = np.array([0.16, 0.22, 0.62]) * (1 - bright) + np.array([0.30, 0.90, 0.92]) * bright
        return np.where((value >= 0)[:, None], warm, cool)

    parts: list[Shape] = [ball((1.0, 0.97, 0.88), (0, 0, 0), 0.06 * min(reach), least=1.3, weight=0.3)]
    parts += [Solid(paint, test, (reach[0], reach[1], reach[2]))]
    return carve(parts, size, margin, coverage=0.4)


def psi(x: np.ndarray, y: np.ndarray, z: np.ndarray, n: int, degree: int, order: int) -> np.ndarray:
    """Real wave function at points in Bohr radii, not normalised (only its shape and sign matter here)."""
    r = np.sqrt(x**2 + y**2 + z**2)
    rho = 2 * r / n
    terms = range(n - degree)
    laguerre = sum((-1) ** i * math.comb(n + degree, n - degree - 1 - i) / math.factorial(i) * rho**i for i in terms)
    turn = np.arctan2(y, x) * abs(order)
    legendre = _legendre(np.divide(z, r, out=np.ones_like(r), where=r > 0), degree, abs(order))
    return np.exp(-rho / 2) * rho**degree * laguerre * legendre * (np.cos(turn) if order >= 0 else np.sin(turn))


def _legendre(c: np.ndarray, degree: int, order: int) -> np.ndarray:
    """Associated Legendre function of cosines `c`, by the upward recurrence in the degree."""
    below = np.zeros_like(c)
    here = np.sqrt(np.clip(1 - c**2, 0, None)) ** order
    for k in range(order + 1, degree + 1):
        below, here = here, ((2 * k - 1) * c * here - (k + order - 1) * below) / (k - order)
    return here
