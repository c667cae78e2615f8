"""`visualize`: pictures, films, pages and files of RGBA frames."""

import numpy as np
import pytest

import visualize

NAMES = "volume slices animate curves viewer film_strip save side_by_side cuts layers kymograph timeline logged"


@pytest.fixture
def frames(monkeypatch):
    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    made = np.zeros((3, 4, 5, 4, 4), np.float32)
    for t in range(3):
        made[t, 1 : 2 + t, 1:4, 1:3] = (0.9, 0.4, 0.1, 1.0)
    return made


def test_the_names():
    assert all(hasattr(visualize, name) for name in NAMES.split())


def test_a_still(frames):
    for style in ("voxels", "surface"):
        picture = visualize.volume(frames[-1], style, size=(48, 40))
        assert picture.dtype == np.uint8 and picture.ndim == 3 and 40 in picture.shape and 48 in picture.shape
        assert picture.std() > 1


def test_figures(frames, tmp_path):
    metrics = [{"iteration": n, "loss": 1.0 / n, "iou": n / 9, "loss_rgba": 1.0 / n} for n in range(1, 9)]
    for number, figure in enumerate((visualize.slices(frames[-1]), visualize.curves(metrics))):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)
        assert (tmp_path / f"{number}.png").stat().st_size > 500


def test_a_film_a_page_and_files(frames, tmp_path):
    film = visualize.animate(frames, tmp_path / "life.gif", size=64, fps=4)
    assert str(film).endswith(".gif") and (tmp_path / "life.gif").read_bytes()[:3] == b"GIF"
    visualize.viewer.movie(frames, tmp_path / "life.html")
    page = (tmp_path / "life.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "http://" not in page.replace("http://www.w3.org", "")
    visualize.save(frames, tmp_path / "life.npz")
    assert (tmp_path / "life.npz").stat().st_size > 100


def test_what_is_refused(frames, tmp_path):
    for call in (
        lambda: visualize.volume(frames[-1], "nope"),
        lambda: visualize.volume(frames[0, 0]),
        lambda: visualize.animate(frames, tmp_path / "life.nope"),
        lambda: visualize.save(frames, tmp_path / "life.nope"),
    ):
        with pytest.raises(ValueError, match=r"found .*, allowed "):
            call()
