"""A film in one file: small, offline, the frames that were put in."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from visualize.viewer import movie

# They open real files in a real browser.
pytestmark = pytest.mark.slow


def growing_ball(size, frames, random_seed=0):
    """(T, *size, 4): a lopsided blob in smooth colours that grows, is cut, and whose colours shimmer as a living body's do."""
    random = np.random.default_rng(random_seed)
    z, y, x = (axis / side - 0.5 for axis, side in zip(np.indices(size), size, strict=True))
    radius = np.sqrt(x**2 + (0.8 * y) ** 2 + (1.3 * z + 0.2 * x) ** 2)
    film = np.zeros((frames, *size, 4), np.float32)
    colour = np.stack([0.5 + x, 0.5 + 0.9 * y, 0.5 - z], axis=-1).clip(0, 1)
    for frame in range(frames):
        there = radius < 0.46 * min(1, (frame + 3) / (0.6 * frames))
        if frame > 0.7 * frames:
            there &= x < 0.1 + 0.3 * (frame / frames - 0.7)
        film[frame, ..., :3] = (colour + 0.01 * random.standard_normal(colour.shape)).clip(0, 1)
        film[frame, ..., 3] = there
    return film * film[..., 3:]


def opened(page_of, file, **options):
    page = page_of(file, viewport={"width": 400, "height": 360}, **options)
    page.wait_for_function("globalThis.movie !== undefined", timeout=20_000)
    page.evaluate("movie.pause()")
    return page


def shown(page, frame, size):
    page.evaluate("(frame) => movie.show(frame)", frame)
    return np.array(page.evaluate("Array.from(movie.view.picture)"), np.uint8).reshape(*size, 4)


def canvas(page):
    """What is seen, once it is drawn with smooth edges."""
    page.wait_for_function("!movie.view.busy && movie.view.fine", timeout=60_000)
    url = page.evaluate("movie.view.canvas.toDataURL()")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def difference(one, other):
    """Mean difference of two pictures where either shows something, 0 .. 255."""
    seen = (np.abs(one - one[0, 0]).max(axis=-1) > 12) | (np.abs(other - other[0, 0]).max(axis=-1) > 12)
    return np.abs(one - other)[seen].mean()


@pytest.mark.parametrize(
    ("size", "most"),
    [
        ((15, 15, 11), 100_000),
        pytest.param((32, 32, 32), 1_000_000, marks=pytest.mark.nightly),
        pytest.param((64, 64, 64), 5_000_000, marks=pytest.mark.nightly),
    ],
)
def test_pages_are_small_even_if_every_cell_shimmers(size, most, tmp_path):
    body = movie(growing_ball(size, 48), tmp_path / "body.html")
    assert body.stat().st_size <= most
    if most > 1_000_000:
        return
    noise = np.random.default_rng(0).random((48, *size, 4), np.float32)
    worst = movie(noise, tmp_path / "noise.html")
    assert worst.stat().st_size <= most


def test_frames_come_back(page_of, tmp_path):
    size, frames = (6, 9, 5), 7
    film = growing_ball(size, frames)
    page = opened(page_of, movie(film, tmp_path / "film.html", steps=range(0, 70, 10), damage_at={5: "cut in half"}))
    for frame in range(frames):
        found = shown(page, frame, size)
        assert np.array_equal(found[..., 3] > 0, film[frame, ..., 3] > 0.1)
        there = found[..., 3] > 0
        assert np.abs(found[there, :3] / 255 - film[frame][there, :3]).max() < 0.12  # a palette
    assert page.inner_text(".read") == "step 60 · cut in half" and page.get_attribute(".mark", "title") == "cut in half"
    assert page.input_value(".time input") == "6"


def test_faint_cells_keep_their_alpha(page_of, tmp_path):
    film = np.zeros((2, 2, 2, 3, 4), np.float32)
    film[:, 0, 0, :, :] = [(1, 0, 0, 1), (0, 1, 0, 0.4), (0, 0, 1, 0.05)]
    film[1, 1, 1, 2] = (1, 1, 0, 0.7)
    page = opened(page_of, movie(film, tmp_path / "film.html"))
    found = shown(page, 1, (2, 2, 3)) / 255
    assert np.abs(found[0, 0, :2] - film[1, 0, 0, :2]).max() < 0.04
    assert found[0, 0, 2, 3] == 0 and abs(found[1, 1, 2, 3] - 0.7) < 0.04


def test_axes_are_seen_where_they_belong(page_of, animal, tmp_path):
    """Mirroring an asymmetric body along any axis, or swapping two axes, gives another picture; another frame too."""
    mirrored = [np.flip(animal, axis) for axis in range(3)]
    film = np.stack([animal, *mirrored, np.zeros_like(animal)])
    page = opened(page_of, movie(film, tmp_path / "film.html"))
    pictures = []
    for frame in range(len(film)):
        page.evaluate("(frame) => movie.show(frame)", frame)
        pictures.append(canvas(page))
    assert (np.abs(pictures[0] - pictures[4]).max(axis=-1) > 30).mean() > 0.05  # not blank
    for other in pictures[1:4]:
        assert difference(pictures[0], other) > 4
    # The long ear stands up (+z): what is seen above the middle has more of the body in frame 0 than upside down.
    page.evaluate("movie.view.azimuth = -90; movie.view.elevation = 0; movie.show(0)")
    front = canvas(page)
    body = (np.abs(front - front[0, 0]).max(axis=-1) > 40)[60:-100]
    columns = np.flatnonzero(body.any(axis=0))
    head, tail = body[:, columns[-len(columns) // 4 :]], body[:, columns[: len(columns) // 4]]
    assert np.argwhere(head)[:, 0].min() < np.argwhere(tail)[:, 0].min()  # it looks along +x, to the right; its head is higher


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_smooth_and_dark(page_of, animal, tmp_path, scheme):
    page = opened(page_of, movie(animal[None], tmp_path / "one.html"), color_scheme=scheme)
    cubes = canvas(page)
    assert (cubes[0, -1] > 240).all() if scheme == "light" else (cubes[0, -1] < 40).all()
    page.keyboard.press("v")
    page.wait_for_function("movie.view.smooth && movie.view.busy")
    skin = canvas(page)
    assert difference(cubes, skin) > 3
    assert not page.evaluate("movie.playing")


@pytest.mark.parametrize("kind", ["empty", "not a number", "one cell"])
def test_odd_films_open(page_of, tmp_path, kind):
    film = np.zeros((1, 1, 1, 1, 4) if kind == "one cell" else (2, 4, 3, 5, 4), np.float32)
    film[-1] = {"empty": 0, "not a number": np.nan, "one cell": 1}[kind]
    page = opened(page_of, movie(film, tmp_path / "film.html"))
    found = shown(page, len(film) - 1, film.shape[1:4])
    assert (found[..., 3] > 0).all() == (kind != "empty")
    canvas(page)


def test_it_plays_and_the_slider_stops_it(page_of, growing, tmp_path):
    page = page_of(movie(growing, tmp_path / "film.html", fps=20))
    page.wait_for_function("globalThis.movie?.frame > 1", timeout=20_000)
    page.locator(".time input").focus()
    page.keyboard.press("Home")
    page.wait_for_function("movie.frame === 0 && !movie.playing")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"path": "film.mp4"}, "suffix"),
        ({"path": "no/film.html"}, "folder"),
        ({"frames": np.zeros((2, 2, 2, 4))}, "(T,D,H,W,4)"),
        ({"steps": [1]}, "steps"),
        ({"damage_at": 9}, "damage_at"),
        ({"fps": 0}, "fps"),
        ({"legend": {"heart": "no-colour"}}, "no-colour"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(growing, tmp_path, change, names):
    given = {"frames": growing, "path": "film.html", **change}
    with pytest.raises(ValueError, match=r"found .*, allowed") as error:
        movie(given.pop("frames"), tmp_path / given.pop("path"), **given)
    assert names in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_words_of_any_kind_are_shown_as_they_are(page_of, growing, tmp_path):
    words = "<!--<script> </script> é 日 & \u2028 $x"
    file = movie(growing, tmp_path / "ein Film – ü#1.html", title=words, damage_at={3: words}, legend={words: "red"})
    page = opened(page_of, file.as_uri().removeprefix("file://"))
    page.evaluate("movie.show(3)")
    assert page.text_content("h1") == words and words in page.text_content(".read") and words in page.text_content(".legend")


def test_a_narrow_window_keeps_the_whole_slider(page_of, growing, tmp_path):
    page = opened(page_of, movie(growing, tmp_path / "film.html", damage_at=3))
    slider, time = (page.locator(place).bounding_box() for place in (".time input", ".time"))
    mark = page.locator(".mark").bounding_box()
    assert abs(slider["width"] - time["width"]) < 2
    assert abs((mark["x"] + 1 - slider["x"] - 8) / (slider["width"] - 16) - 3 / 5) < 0.02


def test_keys_turn_and_zoom(page_of, growing, tmp_path):
    page = opened(page_of, movie(growing, tmp_path / "film.html"))
    azimuth, elevation = page.evaluate("[movie.view.azimuth, movie.view.elevation]")
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp", "PageUp"):
        page.keyboard.press(key)
    assert page.evaluate("[movie.view.azimuth, movie.view.elevation, movie.view.zoom]") == [azimuth + 6, elevation + 6, 1.15]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("movie.frame") == 1


def test_a_long_film_keeps_few_pictures(page_of, tmp_path):
    film = np.zeros((40, 64, 64, 64, 4), np.uint8)
    film[:, 30:34, 30:34, 30:34] = 255
    page = opened(page_of, movie(film, tmp_path / "film.html"))
    for frame in range(40):
        page.evaluate("(frame) => movie.show(frame)", frame)
    assert page.evaluate("movie.view.picture.length") == 4 * 64**3


def test_an_eye_stays_an_eye_on_a_smooth_skin(page_of, tmp_path):
    """One black cell on the face of a pale body is seen as black, not as a smudge."""
    film = np.zeros((1, 9, 9, 9, 4), np.float32)
    film[0, 1:8, 1:8, 1:8] = (1.0, 0.75, 0.8, 1.0)
    film[0, 4, 1, 4, :3] = 0.02
    page = opened(page_of, movie(film, tmp_path / "film.html"))
    page.evaluate("movie.view.smooth = true; movie.view.azimuth = -90; movie.view.elevation = 5; movie.view.redraw()")
    darkest = canvas(page)[120:240].max(axis=-1).min()
    assert darkest < 90
