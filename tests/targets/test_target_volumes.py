"""The real bodies that pyvista carries."""

import sys

import numpy as np
import pytest
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets.sculpt import label_pieces


@pytest.mark.slow
def test_the_frog_has_fifteen_tissues() -> None:
    pytest.importorskip("pyvista")
    target = targets.load("frog", (14, 31, 32))
    check_laws(target, (14, 31, 32), margin=0)
    assert int(target.occupied.sum()) == pytest.approx(1137, rel=0.03)
    assert len(target.names) == 16 and {"skeleton", "liver", "eye retina"} <= set(target.names)
    tissue = target.values[:-1].argmax(0)
    counts = {name: int((tissue == i).sum()) for i, name in enumerate(target.names)}
    assert max(counts, key=lambda name: counts[name] * (name != "empty")) == "skeleton"
    assert len(np.unique(target.palette, axis=0)) == 16
    check_laws(targets.load("frog", (9, 19, 20), margin=1), (9, 19, 20), margin=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ant", "channels"])
def test_carried_bodies(name: str) -> None:
    pytest.importorskip("pyvista")
    for size in ((14, 24, 24), (12, 30, 21)):
        target = targets.load(name, size)
        cells = check_laws(target, size, margin=1)
        assert np.abs(cells.min(0) + cells.max(0) + 1 - np.array(size)).max() <= 3
        if name != "channels":
            assert label_pieces(target.occupied.numpy()).max() == 1


def test_without_the_extra_the_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvista", None)
    for name in ("frog", "ant", "channels"):
        one_line(lambda name=name: targets.load(name, (9, 9, 9)), name, "not installed", "pip install 'nca3d[viz]'")
