"""Cost curves: time and memory of a training iteration against living cells, and against the lattice's volume."""

import math
from collections.abc import Sequence
from dataclasses import replace

from nca3d.bench.contenders import Contender
from nca3d.bench.measure import PATIENCE, Means, announce, measure_setting
from nca3d.bench.results import Row
from nca3d.bench.settings import TEXTBOOK, Setting

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
# Living cells: these shares of a lattice of this side.
SIDE = 64

SIDES = (32, 48, 64, 96, 128)
# Volume: a body of so many living cells (5 % of 32³) in lattices of these sides.
BODY = 1638

BATCH, STEPS = 1, 8


def by_living() -> list[Setting]:
    """A fixed lattice, more and more of it alive."""
    cube = (SIDE, SIDE, SIDE)
    return [Setting(f"{SIDE}³, {100 * share:g} % alive", cube, BATCH, STEPS, share) for share in SHARES]


def by_volume() -> list[Setting]:
    """A fixed body in larger and larger lattices."""
    return [Setting(f"{side}³, {BODY} alive", (side, side, side), BATCH, STEPS, BODY / side**3) for side in SIDES]


def measure_curves(executors: Sequence[str], means: Means) -> dict[str, list[Row]]:
    """Rows under "living" and "volume": all repetitions of one point in turn, then the next point.

    The textbook's cost does not depend on what lives, so it is measured at both ends of that curve only. Along the volume the
    event-driven executor is also given compact states, and gives compact ones back. A contender stops where it gets too slow.
    """
    plain = [Contender(name) for name in executors]
    compact = [Contender(name, compact=True) for name in executors if name == "event"]
    plans = {
        "living": [(s, [*([Contender(TEXTBOOK)] if s.living in (SHARES[0], SHARES[-1]) else []), *plain]) for s in by_living()],
        "volume": [(s, [Contender(TEXTBOOK), *plain, *compact]) for s in by_volume()],
    }
    for points in plans.values():
        for setting, contenders in points:
            announce(setting, contenders, means)
    return {name: _along(points, means) for name, points in plans.items()}


def _along(points: Sequence[tuple[Setting, Sequence[Contender]]], means: Means) -> list[Row]:
    rows: list[Row] = []
    speed: dict[str, float] = {}  # seconds a cell update at the point before
    for setting, contenders in points:
        going = [c for c in contenders if speed.get(c.name, 0.0) * setting.updates < PATIENCE]
        for contender in contenders:
            if contender not in going:
                means.progress.forget(f"{setting.name}: {contender.name},")
        found = measure_setting(setting, going, means)
        speed |= {row.contender: row.training / setting.updates for row in found if row.training}
        slow = f"skipped: would take more than {PATIENCE:g} s an iteration"
        blank = Row(setting.name, "", volume=math.prod(setting.size), skipped=slow)
        rows += [*found, *(replace(blank, contender=c.name) for c in contenders if c not in going)]
    return rows


def lines(rows: Sequence[Row], along: str, of: str) -> dict[str, tuple[list[float], list[float]]]:
    """Returns each contender's line (x, y): `of` ("training", "resident", …) against `along` ("living_cells", "volume")."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        x, y = getattr(row, along), getattr(row, of)
        if x and y:
            xs, ys = found.setdefault(row.contender, ([], []))
            xs.append(float(x))
            ys.append(float(y))
    return found
