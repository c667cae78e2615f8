"""Glow, quality, legend and axes of stills."""

import numpy as np
import pytest

import visualize
from visualize.frames import body_box
from visualize.render import probe
from visualize.render.activity import inferno
from visualize.render.axes import draw_axes
from visualize.render.legend import Legend
from visualize.render.lettering import load_font
from visualize.render.quality import scattered
from visualize.render.scene import STYLES, Scene
from visualize.render.sky import floor_shade, measure_sky

SMALL = {"size": (160, 160), "renderer": "raymarch"}
DARK = (0.0, 0.0, 0.0)
NAMES = {f"tissue number {number}": (number / 16, 0.3, 1 - number / 16) for number in range(16)}


@pytest.fixture
def field(animal: np.ndarray) -> np.ndarray:
    """(13,11,17): grows towards the head."""
    return np.where(animal[..., 3] > 0, np.linspace(0, 1, animal.shape[2]), 0)


def bright(picture: np.ndarray) -> np.ndarray:
    return picture[:130].astype(int).sum(axis=-1)  # above the colour bar


class TestActivity:
    def test_it_glows_where_the_field_is(self, animal: np.ndarray) -> None:
        for cell in ((8, 5, 15), (1, 3, 4)):
            one = np.zeros(animal.shape[:3])
            one[cell] = 1
            with Scene(body_box(animal), "activity", **SMALL, background=DARK) as scene:
                picture = scene.draw(animal, activity=one)
                place = scene.camera.project(np.array([cell[::-1]], np.float32) + 0.5)[0]
            row, column = np.unravel_index(bright(picture).argmax(), bright(picture).shape)
            assert np.hypot(column + 0.5 - place[0], row + 0.5 - place[1]) < 3

    @pytest.mark.parametrize("value", [0.3, 0.6, 1.0])
    def test_a_colour_means_what_the_bar_says(self, value: float) -> None:
        """A block of one value, seen through a ghost that adds little, has that value's colour."""
        body = np.zeros((5, 5, 5, 4), np.float32)
        block = np.full((5, 5, 5), value, np.float32)
        box = np.zeros(3, np.float32), np.full(3, 5, np.float32)
        view = {"box": box, "background": DARK, "ground": False, **SMALL}
        picture = visualize.volume(body, "activity", activity=block, activity_range=(0, 1), **view)
        assert np.abs(picture[60:75, 70:90] / 255 - inferno()[round(value * 255)]).max() < 0.03

    def test_the_range_fixes_the_scale(self, animal: np.ndarray, field: np.ndarray) -> None:
        once = visualize.volume(animal, "activity", activity=field, **SMALL)
        more = visualize.volume(animal, "activity", activity=8 * field, **SMALL)
        assert np.array_equal(bright(once), bright(more))  # only the label differs
        assert not np.array_equal(once, more)
        fixed = [
            visualize.volume(animal, "activity", activity=factor * field, activity_range=(0, 2), **SMALL) for factor in (1, 2)
        ]
        assert bright(fixed[0]).mean() < 0.9 * bright(fixed[1]).mean()
        shifted = visualize.volume(animal, "activity", activity=field + 4, activity_range=(4, 4 + field.max()), **SMALL)
        assert np.abs(bright(shifted) - bright(once)).mean() < 1

    def test_the_body_glows_by_its_thickness(self) -> None:
        body = np.zeros((4, 12, 12, 4), np.float32)
        body[:, 2:10, 2:4] = 1  # along y: thick from the front
        body[:, 2:3, 8:10] = 1  # thin
        picture = visualize.volume(body, "activity", azimuth=-90, elevation=0, ground=False, **SMALL)
        left, right = bright(picture)[:, :80], bright(picture)[:, 80:]
        assert left.max() > 1.5 * right.max() > 0

    def test_on_light_paper_strong_is_dark(self, animal: np.ndarray, field: np.ndarray) -> None:
        picture = visualize.volume(animal, "activity", activity=field, background="white", ground=False, **SMALL)
        assert bright(picture)[:, 95:].min() < 150 < bright(picture)[:, :60].min()  # the head and the tail
        assert (picture[0] == 255).all()

    def test_cells_that_are_not_finite_are_seen(self, animal: np.ndarray) -> None:
        broken = animal.copy()
        broken[8, 4:7, 15:] = np.inf
        picture = visualize.volume(broken, "activity", azimuth=0, **SMALL).astype(int)
        assert ((picture[..., 0] > picture[..., 1] + 80) & (picture[..., 2] > picture[..., 1] + 80)).sum() > 20

    def test_the_paper_is_dark_under_a_glow_alone(self, animal: np.ndarray) -> None:
        for style, dark in zip(STYLES, (False, False, True), strict=True):
            assert (visualize.volume(animal, style, **SMALL)[0, 0].mean() < 20) == dark
            assert (visualize.volume(animal, style, background="red", **SMALL)[0, 0] == (255, 0, 0)).all()

    @pytest.mark.parametrize("size", [(1, 1, 1), (1, 7, 20), (12, 1, 1)])
    def test_any_lattice_glows(self, size: tuple[int, int, int]) -> None:
        for activity in (None, np.ones(size), np.zeros(size), -np.ones(size)):
            picture = visualize.volume(np.full((*size, 4), 0.6), "activity", activity=activity, ground=False, **SMALL)
            assert picture.shape == (160, 160, 3)
            assert (bright(picture) > 60).any()  # the ghost at least
        empty = np.zeros((*size, 4))
        blank = visualize.volume(empty, "activity", ground=False, **SMALL)
        assert (blank[:130] == blank[0, 0]).all()
        assert (bright(visualize.volume(empty, "activity", activity=np.ones(size), ground=False, **SMALL)) > 300).any()

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"activity": np.zeros((3, 3, 3))}, "activity: found shape (3, 3, 3), allowed (13, 11, 17)"),
            ({"activity": np.full((13, 11, 17), np.nan)}, "activity: found 2431 values"),
            ({"activity": np.full((13, 11, 17), 1e300)}, "activity: found 2431 values"),
            ({"activity": np.full((13, 11, 17), "a")}, "activity: found dtype"),
            ({"activity": [[[1, 2], [3]]]}, "activity: found rows"),
            ({"activity_range": (1, 1)}, "activity_range: found (1, 1)"),
            ({"activity_range": (0, np.inf)}, "activity_range"),
            ({"activity_range": 3}, "activity_range: found 3"),
            ({"quality": "best"}, "quality: found 'best', allowed fast, high"),
            ({"legend": {"bone": "no-colour"}}, "legend: found 'no-colour'"),
            ({"legend": {"bone": (1, 2, 3)}}, "legend"),
            ({"legend": {"bone": None}}, "legend: found None"),
        ],
    )
    def test_bad_input_is_one_line(self, animal: np.ndarray, change: dict, names: str) -> None:
        with pytest.raises(ValueError, match=r"^volume: .*found .*, allowed") as error:
            visualize.volume(animal, "activity", **{**SMALL, **change})
        assert names in str(error.value) and "\n" not in str(error.value)

    @pytest.mark.slow
    def test_renderers_glow_alike(self, animal: np.ndarray) -> None:
        if probe.opengl_trouble():
            pytest.skip(f"no OpenGL here: {probe.opengl_trouble()}")
        ours, theirs = (visualize.volume(animal, "activity", size=(120, 100), renderer=name) for name in ("raymarch", "opengl"))
        assert np.array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_high_quality_is_the_same_picture_but_finer(animal: np.ndarray, style: str) -> None:
    view = {"size": (96, 80), "renderer": "raymarch", "ground": style != "activity"}
    fast, high, again = (visualize.volume(animal, style, quality=quality, **view) for quality in ("fast", "high", "high"))
    assert np.array_equal(high, again)
    assert 0.1 < np.abs(fast.astype(int) - high).mean() < 6


class TestLegend:
    @pytest.mark.parametrize("count", range(1, 17))
    @pytest.mark.parametrize("size", [(480, 480), (640, 360), (480, 600)])
    def test_all_names_are_legible_and_beside_the_body(self, count: int, size: tuple[int, int]) -> None:
        legend = Legend(dict(list(NAMES.items())[:count]), size)
        assert legend.names == list(NAMES)[:count] and legend.pixels >= 9.5
        assert min(legend.room[2:]) >= 0.5 * min(size)
        font, boxes = load_font(legend.pixels), []
        for name, (x, y) in zip(legend.names, legend.places, strict=True):
            left, top, right, bottom = font.getbbox(name, anchor="lm")
            boxes.append((x, y + top, x + 1.5 * legend.pixels + right - left, y + bottom))
            assert x >= 0 and boxes[-1][1] >= 0 and boxes[-1][2] <= size[0] and boxes[-1][3] <= size[1]
            assert x >= legend.room.width or boxes[-1][1] >= legend.room.height
        for one, first in enumerate(boxes):
            for second in boxes[one + 1 :]:
                assert first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]

    def test_its_colours_are_in_the_picture_and_the_body_stays_in_its_room(self, animal: np.ndarray) -> None:
        names = {"bone": "#123456", "a very long name " * 6: (0.0, 1.0, 0.0), "eye\nwhite": "crimson"}
        with Scene(body_box(animal), legend=names, renderer="raymarch", ground=False, size=(240, 240)) as scene:
            picture, room = scene.draw(animal), scene._legend.room
            blank = scene.draw(np.zeros_like(animal))
        for colour in ((0x12, 0x34, 0x56), (0, 255, 0), (220, 20, 60)):
            assert (picture == colour).all(axis=-1).sum() > 30
        changed = (picture != blank).any(axis=-1)
        assert changed.any() and not changed[room.height :].any() and not changed[:, room.width :].any()

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [(16, 16), (64, 64), (16, 400), (400, 16), (200, 200)])
    def test_small_pictures_have_less_of_it(self, animal: np.ndarray, size: tuple[int, int]) -> None:
        for style in STYLES:
            picture = visualize.volume(animal, style, legend=NAMES, axes=True, size=size, renderer="raymarch")
            assert picture.shape == (size[1], size[0], 3)
        legend = Legend(NAMES, (200, 120))
        assert legend.names[-1].startswith("+ ") and len(legend.names) < 16
        assert Legend({}, (200, 200)).room[2:] == (200, 200)


class TestAxes:
    @pytest.mark.slow
    @pytest.mark.parametrize("azimuth", [-58, 10, 90, 200])
    @pytest.mark.parametrize("elevation", [-30, 24, 75])
    @pytest.mark.parametrize("style", ["voxels", "activity"])
    def test_they_never_touch_the_body(self, animal: np.ndarray, style: str, azimuth: float, elevation: float) -> None:
        with Scene(
            body_box(animal),
            style,
            axes=True,
            ground=False,
            azimuths=[azimuth],
            elevation=elevation,
            size=(240, 240),
            renderer="raymarch",
            background="white",
        ) as scene:
            scene.axes = False
            plain, blank = scene.draw(animal), scene.draw(np.zeros_like(animal))
            body = np.abs(plain.astype(int) - blank).max(axis=-1) > 40
            lines = draw_axes(np.full_like(blank[: scene.camera.size[1]], 255), scene.camera, scene.box, scene.paper, 9)
        drawn = (lines < 230).any(axis=-1)
        assert drawn.sum() > 100 and not (drawn & body[: len(drawn)]).any()
        assert not drawn[0].any() and not drawn[-1].any() and not drawn[:, 0].any() and not drawn[:, -1].any()

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [(17, 11, 13), (16, 16, 16), (40, 6, 6)])
    def test_no_word_runs_into_another_on_an_orbit(self, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        from PIL import ImageDraw

        said: list[tuple[str, tuple[float, float, float, float]]] = []

        def listen(self: ImageDraw.ImageDraw, place: tuple[float, float], text: str, **more: object) -> None:
            said.append((text, self.textbbox(place, text, font=more["font"], anchor=more["anchor"])))

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", listen)
        azimuths, box = list(range(0, 360, 5)), (np.zeros(3, np.float32), np.array(size, np.float32))
        paper = np.full((240, 240, 3), 255, np.uint8)
        with Scene(box, axes=True, azimuths=azimuths, size=(240, 240), renderer="raymarch") as scene:
            for azimuth in azimuths:
                said.clear()
                draw_axes(paper, scene.camera.turned(azimuth), scene.box, scene.paper, 9)
                for one, (_, first) in enumerate(said):
                    for _, second in said[:one]:
                        apart = first[2] <= second[0] or second[2] <= first[0], first[3] <= second[1] or second[3] <= first[1]
                        assert any(apart), azimuth
                assert {"x", "y", "z"} & {text for text, _ in said}

    def test_numbers_stand_at_their_cells(self, animal: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        from PIL import ImageDraw

        box = np.zeros(3, np.float32), np.array([17, 11, 13], np.float32)
        said: list[tuple[str, float]] = []
        write = ImageDraw.ImageDraw.text

        def listen(self: ImageDraw.ImageDraw, place: tuple[float, float], text: str, **more: object) -> None:
            said.append((text, place[0]))
            write(self, place, text, **more)

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", listen)
        with Scene(box, axes=True, azimuths=[-90], elevation=1, renderer="raymarch") as scene:
            scene.draw(animal)
            numbers = said[: [text for text, _ in said].index("x")]
            places = scene.camera.project(np.array([[float(text), -1, 0] for text, _ in numbers], np.float32))[:, 0]
        assert [text for text, _ in numbers] == [str(cell) for cell in range(0, 17, 2)]
        assert np.allclose([place for _, place in numbers], places, atol=1)
        assert "z" in [text for text, _ in said]


class TestMeasuredLight:
    def test_a_well_is_darker_than_a_roof(self) -> None:
        solid = np.zeros((15, 15, 12), bool)
        solid[3:12, 3:12, 3:9] = True
        solid[7, 7, 4:9] = False
        camera = Scene((np.zeros(3, np.float32), np.full(3, 12, np.float32)), renderer="raymarch").camera
        light = measure_sky(solid, camera, 200_000).light
        assert light[7, 7, 4, 0] < 0.2 and light[7, 7, 4, 1] < 0.2
        assert light[4, 4, 9, 0] > 0.85 and light[4, 4, 9, 1] > 0.9
        assert not light[7, 7, 11].any() and not light[5, 5, 5].any()  # too far away, and inside

    def test_the_floor_is_darkest_under_the_body(self, animal: np.ndarray) -> None:
        camera = Scene(body_box(animal), renderer="raymarch").camera
        shade = floor_shade(camera, body_box(animal), animal, 12, 3, 100_000)
        assert shade.shape == ((11 + 24) * 3, (17 + 24) * 3)
        row, column = np.unravel_index(shade.argmax(), shade.shape)
        assert 12 < row / 3 < 12 + 11 and 12 < column / 3 < 12 + 17
        border = np.concatenate([shade[0], shade[-1], shade[:, 0], shade[:, -1]])
        assert border.max() < 0.02 < 0.3 < shade.max()

    @pytest.mark.parametrize("count", [5, 13, 21, 34])
    def test_rays_are_spread_over_a_pixel(self, count: int) -> None:
        for along in scattered(count):
            assert np.allclose(np.sort(along), (np.arange(count) + 0.5) / count - 0.5)  # one in every row and column


def test_a_body_of_plain_magenta_is_not_a_diverged_one() -> None:
    body = np.zeros((5, 5, 5, 4), np.float32)
    body[1:4, 1:4, 1:4] = (1, 0, 1, 1)
    glow = np.zeros((5, 5, 5), np.float32)
    glow[2, 2, 2] = 1
    other = body * [1, 1, 0.97, 1]
    size = {"size": (120, 120), "activity": glow, "activity_range": (0.0, 1.0)}
    plain, near = (visualize.volume(one, "activity", **size).astype(int) for one in (body, other))
    assert np.abs(plain - near).mean() < 1
