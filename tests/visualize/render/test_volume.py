import numpy as np
import pytest

import visualize
from visualize.render import probe
from visualize.render.camera import fit
from visualize.render.march import jump_table, march

SMALL = {"size": (160, 160), "renderer": "raymarch"}
STYLES = ("voxels", "surface")


def ink(picture: np.ndarray) -> np.ndarray:
    """Pixels that aren't white paper."""
    return (picture < 235).any(axis=-1)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_mirror_image_looks_different(animal: np.ndarray, style: str) -> None:
    whole = visualize.volume(animal, style, ground=False, **SMALL)
    again = visualize.volume(animal, style, ground=False, **SMALL)
    assert np.array_equal(whole, again)
    for axis in range(3):
        mirrored = visualize.volume(np.flip(animal, axis), style, ground=False, **SMALL)
        assert np.abs(whole.astype(int) - mirrored).mean() > 2
    turned = visualize.volume(animal.transpose(0, 2, 1, 3), style, ground=False, **SMALL)
    assert overlap(ink(whole), ink(turned)) < 0.9


@pytest.mark.parametrize("style", STYLES)
def test_axes_point_where_they_should(style: str) -> None:
    """Up is +z; from azimuth -90, +x is on the right and the nearer y hides the farther one."""
    body = np.zeros((9, 9, 9, 4), np.float32)
    body[4, 4, 4] = (0.5, 0.5, 0.5, 1)
    body[8, 4, 4] = (1, 0, 0, 1)  # top
    body[4, 4, 8] = (0, 1, 0, 1)  # at the end of x
    body[4, 0, 4] = (0, 0, 1, 1)  # front: y = 0
    box = np.zeros(3, np.float32), np.full(3, 9, np.float32)
    view = {"azimuth": -90, "elevation": 2, "ground": False, "box": box}
    picture = visualize.volume(body, style, **view, **SMALL).astype(int)
    red = np.argwhere(picture[..., 0] > picture[..., 1:].max(axis=-1) + 60)
    green = np.argwhere(picture[..., 1] > picture[..., ::2].max(axis=-1) + 60)
    blue = np.argwhere(picture[..., 2] > picture[..., :2].max(axis=-1) + 60)
    assert len(red) and len(green) and len(blue)
    assert red[:, 0].max() < blue[:, 0].min()  # above
    assert green[:, 1].min() > blue[:, 1].max()  # to the right
    grey = (np.ptp(picture, axis=-1) < 20) & ink(picture)
    assert grey.sum() < 0.2 * len(blue)  # the grey cell is behind the blue one


def test_blank_frames_are_an_empty_stage(animal: np.ndarray) -> None:
    empty = visualize.volume(np.zeros_like(animal), ground=False, **SMALL)
    assert (empty == 255).all()
    stage = visualize.volume(np.zeros_like(animal), **SMALL)
    assert 0 < (stage < 250).any(axis=-1).mean() < 0.1  # the outline of the floor
    assert ink(visualize.volume(animal, ground=False, **SMALL)).mean() > 0.1
    dead = animal.copy()
    dead[..., 3] *= 0.1
    assert (visualize.volume(dead, ground=False, **SMALL) == 255).all()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 7, 20), (12, 1, 1)])
def test_any_lattice_gives_a_picture(style: str, size: tuple[int, int, int]) -> None:
    picture = visualize.volume(np.full((*size, 4), 0.6), style, **SMALL)
    assert picture.shape == (160, 160, 3) and picture.dtype == np.uint8
    assert ink(picture).mean() > 0.005


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cells_that_are_not_finite_are_seen(animal: np.ndarray, bad: float) -> None:
    broken = animal.copy()
    broken[8, 4:7, 16] = bad
    magenta = visualize.volume(broken, azimuth=0, **SMALL).astype(int)
    assert ((magenta[..., 0] > magenta[..., 1] + 80) & (magenta[..., 2] > magenta[..., 1] + 80)).sum() > 20


def test_numbers_of_any_kind_mean_the_same(animal: np.ndarray) -> None:
    bytes_ = np.round(animal * 255).astype(np.uint8)
    from_floats = visualize.volume(bytes_ / 255.0, **SMALL)
    assert np.array_equal(visualize.volume(bytes_, **SMALL), from_floats)


def test_faint_cells_are_pale(animal: np.ndarray) -> None:
    faint = animal * [1, 1, 1, 0.3]
    strong, pale = (visualize.volume(body, ground=False, **SMALL) for body in (animal, faint))
    assert pale[ink(pale)].mean() > strong[ink(strong)].mean() + 30


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"rgba": np.zeros((4, 4, 4))}, "shape (4, 4, 4)"),
        ({"rgba": np.zeros((0, 4, 4, 4))}, "shape (0, 4, 4, 4)"),
        ({"rgba": np.zeros((4, 4, 4, 3))}, "(D,H,W,4)"),
        ({"rgba": np.full((2, 2, 2, 4), "a")}, "dtype"),
        ({"style": "smoke"}, "voxels, surface"),
        ({"background": "no-colour"}, "background"),
        ({"size": (0, 100)}, "size"),
        ({"azimuth": float("nan")}, "azimuth"),
        ({"renderer": "directx"}, "renderer"),
    ],
)
def test_bad_input_is_one_line(animal: np.ndarray, change: dict, names: str) -> None:
    arguments = {"rgba": animal, **SMALL, **change}
    with pytest.raises(ValueError, match=r"found .*, allowed") as error:
        visualize.volume(**arguments)
    assert names in str(error.value) and "\n" not in str(error.value)


def test_the_camera_keeps_the_box_in_the_picture_from_everywhere() -> None:
    box = np.array([0, 0, 0], np.float32), np.array([17, 5, 9], np.float32)
    corners = np.array([[x, y, z] for x in (0, 17) for y in (0, 5) for z in (0, 9)], np.float32)
    for elevation in (-70, 0, 24, 89):
        camera = fit(box, azimuths=range(0, 360, 30), elevation=elevation, size=(200, 120))
        for azimuth in range(0, 360, 30):
            points = camera.turned(azimuth).project(corners)
            assert (points >= 0).all() and (points <= [200, 120]).all()
    camera = fit(box, azimuths=[20], elevation=24, size=(200, 120))
    rays = camera.rays(*camera.project(corners).T)
    toward = corners - camera.position
    assert np.allclose(rays, toward / np.linalg.norm(toward, axis=1, keepdims=True), atol=1e-4)  # inverse of each other


@pytest.mark.slow
def test_marching_meets_what_small_steps_meet() -> None:
    random = np.random.default_rng(0)
    cells = random.random((9, 7, 8)) < 0.06
    origin = np.array([-6.0, 3.2, 12.5], np.float32)
    target = random.random((300, 3)) * cells.shape
    rays = ((target - origin) / np.linalg.norm(target - origin, axis=1, keepdims=True)).astype(np.float32)
    hits = march(jump_table(cells), origin, rays)
    walk = origin + rays[:, None] * np.arange(0, 30, 0.002, np.float32)[None, :, None]
    index = np.floor(walk).astype(int)
    inside = ((index >= 0) & (index < cells.shape)).all(axis=-1)
    solid = np.zeros(inside.shape, bool)
    solid[inside] = cells[tuple(index[inside].T)]
    first = np.where(solid.any(axis=1), solid.argmax(axis=1) * 0.002, np.inf)
    clear = np.isfinite(first) == hits.hit  # a corner grazed by less than a small step may differ
    assert clear.mean() > 0.98 and hits.hit.sum() > 50
    both = np.isfinite(first) & hits.hit
    assert (np.abs(first[both] - hits.distance[both]) < 0.01).mean() > 0.98
    assert cells[tuple(hits.cell[hits.hit].T)].all()


class TestRenderers:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(probe.SWITCH, raising=False)

    def test_a_crash_of_the_trial_falls_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "_TRIAL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        probe.opengl_trouble.cache_clear()
        try:
            if probe.opengl_trouble() != "pyvista is missing (extra 'viz')":
                assert "crashed" in probe.opengl_trouble()
            assert probe.choose("auto") == "raymarch"
            with pytest.raises(ValueError, match="opengl"):
                probe.choose("opengl")
        finally:
            probe.opengl_trouble.cache_clear()

    def test_the_switch_decides_for_auto_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_trial() -> str:
            raise AssertionError("a switch set to raymarch needs no trial")

        monkeypatch.setattr(probe, "opengl_trouble", no_trial)
        monkeypatch.setenv(probe.SWITCH, "raymarch")
        assert probe.choose("auto") == "raymarch"
        monkeypatch.setenv(probe.SWITCH, "sometimes")
        with pytest.raises(ValueError, match=probe.SWITCH):
            probe.choose("auto")
        assert probe.choose("raymarch") == "raymarch"

    @pytest.mark.slow
    @pytest.mark.parametrize("style", STYLES)
    def test_both_renderers_agree(self, animal: np.ndarray, style: str) -> None:
        if probe.opengl_trouble():
            pytest.skip(f"no OpenGL here: {probe.opengl_trouble()}")
        for azimuth in (-58, 100):
            view = {"size": (240, 200), "azimuth": azimuth, "ground": False}
            ours, theirs = (visualize.volume(animal, style, renderer=name, **view) for name in ("raymarch", "opengl"))
            assert overlap(ink(ours), ink(theirs)) > 0.97
            assert np.abs(ours.astype(int) - theirs).mean() < 4


@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_flat_body_is_seen_from_before_its_plane(across: int) -> None:
    """Whichever the plane: its first axis runs to the right, its second one up, and most of the picture is the body."""
    plane = np.zeros((12, 12, 4), np.float32)
    plane[:, :] = (0.5, 0.5, 0.5, 1)
    plane[:6, :6], plane[:6, 6:], plane[6:, :6] = (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1)  # below: left, right; above: left
    picture = visualize.volume(np.expand_dims(plane, across), ground=False, **SMALL).astype(int)
    assert ink(picture).mean() > 0.5
    place = {}
    for colour, name in enumerate(("left", "right", "above")):
        rest = np.delete(picture, colour, axis=-1).max(axis=-1)
        place[name] = np.argwhere(picture[..., colour] > rest + 60).mean(axis=0)  # row, column
    assert place["left"][1] + 20 < place["right"][1] and place["above"][0] + 20 < place["left"][0]
    assert abs(place["left"][0] - place["right"][0]) < 20 and abs(place["left"][1] - place["above"][1]) < 20


def test_a_row_of_cells_is_seen_from_its_side() -> None:
    for axis in range(3):
        shape = [1, 1, 1, 4]
        shape[axis] = 12
        rows, columns = np.nonzero(ink(visualize.volume(np.ones(shape, np.float32), ground=False, **SMALL)))
        assert max(np.ptp(rows), np.ptp(columns)) > 130
