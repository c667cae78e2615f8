"""Pictures of one body that grows, is damaged and heals: film strips, IoU over time, a film, a portrait."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nca3d.files import vacate
from nca3d.reports.page import film_html
from nca3d.reports.pictures import DARK, Strip, data_url, on_both, png_of_pixels, webp_of
from nca3d.reports.values import display_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# RGBA pictures of a body with straight alpha, (T, D, H, W, 4), 0 .. 1.
Frames = NDArray[np.floating]
# The step of each picture, (T,).
Steps = NDArray[np.integer] | Sequence[int]
Growth = tuple[Frames, Steps]
# The last is the index of the first frame after the damage.
Healing = tuple[Frames, Steps, int]

GROWTH_FRAMES = 11  # with the target: two rows of six
HEALING_FRAMES = 4  # with the body before and right after the damage: one row of six
# Frames a second, pixels of each side, and degrees of the one turn around the body.
FILM_FPS, FILM_SIZE, FILM_ORBIT = 10, 480, 360.0
PAUSE = 6  # frames that a grown and a healed body stand still, long enough to be looked at


class FilmedLife(NamedTuple):
    """The pictures of one body that grows, and of how it heals after each wound.

    Attributes:
        growth: Frames (T, D, H, W, 4), straight RGBA, and steps (T,), from the first cell to the grown body.
        heal: By the name of the damage: frames (T, D, H, W, 4), steps (T,), and the index of the first frame after the
            damage; the body before it comes first.
        timelines: By the name of the damage: steps (T,) and IoU (T,), from the first cell to the healed body.
        target: The target's picture, (D, H, W, 4); None = it is not shown.
    """

    growth: Growth
    heal: Mapping[str, Healing]
    timelines: Mapping[str, tuple[Steps, NDArray[np.floating]]]
    target: Frames | None = None


def life_figures(filmed: FilmedLife) -> "Iterator[tuple[str, Figure | Strip]]":
    """Yields the strips and the chart of a filmed life by name: growth, heal-DAMAGE for each damage, timeline."""
    yield "growth", growth_strip(filmed.growth, filmed.target)
    for damage, healing in filmed.heal.items():
        yield f"heal-{damage}", healing_strip(healing)
    if filmed.timelines:
        yield "timeline", _timeline(filmed)


def growth_strip(growth: Growth, target: Frames | None = None) -> Strip:
    """Returns the film strip of a body that grows.

    Args:
        growth: Frames and steps.
        target: The target's picture, drawn at the end; None = without it.
    """
    count = GROWTH_FRAMES + (target is None)
    frames, labels = _chosen(growth[0], count), [f"step {int(step)}" for step in _chosen(np.asarray(growth[1]), count)]
    if target is None:
        return Strip(frames, labels)
    return Strip(np.concatenate([frames, target[None]]), [*labels, "target"])


def healing_strip(healing: Healing) -> Strip:
    """Returns the film strip of a body before, after the damage, and as it heals, from the side that shows the wound best."""
    frames, labels = _healing_frames(healing)
    return Strip(frames, labels, _facing(healing))


def portrait(frame: Frames, background: str = "white") -> NDArray[np.uint8]:
    """Returns the picture of one body, (D, H, W, 4), as a square of pixels (H, W, 3)."""
    import visualize

    return visualize.volume(frame, size=(FILM_SIZE, FILM_SIZE), background=background)


def still(filmed: FilmedLife) -> str:
    """Returns the grown body as the large picture of a page, in HTML."""
    light, dark = (webp_of(portrait(filmed.growth[0][-1], ground)) for ground in ("white", DARK))
    return on_both(light, dark, "the grown body")


def film(folder: Path, filmed: FilmedLife) -> tuple[str, list[str]]:
    """Films growth, damage (the first one) and healing in one turn around the body; as a GIF where ffmpeg is missing.

    Args:
        folder: The folder that film.mp4 or film.gif is written into.
        filmed: The pictures of the life.

    Returns:
        The film as the large picture of a page, in HTML, and the name of its file.
    """
    import visualize
    from visualize.film import has_ffmpeg

    frames, steps = [np.asarray(filmed.growth[0])], [int(step) for step in filmed.growth[1]]
    marks: dict[int, str] = {}
    _hold(frames, steps)
    for damage, (healing, healing_steps, cut) in [*filmed.heal.items()][:1]:
        # The body before the damage is the grown one that stands still already, unless it lived on in between.
        start = next((index for index in range(cut) if healing_steps[index] > steps[-1]), cut)
        marks[len(steps) + cut - start] = f"cut: {display_name(damage)}"
        frames.append(np.asarray(healing)[start:])
        steps += [int(step) for step in healing_steps[start:]]
        _hold(frames, steps)
    path = visualize.animate(
        np.concatenate(frames),
        vacate(folder / ("film.mp4" if has_ffmpeg() else "film.gif")),
        fps=FILM_FPS,
        size=FILM_SIZE,
        orbit=FILM_ORBIT,
        steps=steps,
        damage_at=marks,
    )
    poster = data_url(png_of_pixels(portrait(filmed.growth[0][-1])))
    return film_html(data_url(path.read_bytes(), path.suffix), poster), [path.name]


def _chosen(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Returns at most `count` entries of the first axis, evenly spread, with the first and the last."""
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def _healing_frames(healing: Healing) -> tuple[Frames, list[str]]:
    """Returns the frames of a healing strip and their labels: before, right after the damage, and on to the end."""
    frames, steps, cut = healing
    after = len(frames) - 1 - cut
    # Powers, so that the early frames are closer together: most happens there.
    chosen = {cut + round(after**share) for share in np.linspace(0, 1, HEALING_FRAMES)} if after else set()
    before = [cut - 1] if cut > 0 else []
    indices = [*before, cut, *sorted(chosen)]
    since = [f"+{int(steps[index]) - int(steps[cut])} steps" for index in indices[len(before) + 1 :]]
    return np.asarray(frames)[indices], [*(["before"] if before else []), "cut", *since]


def _facing(healing: Healing) -> float:
    """Returns the azimuth in degrees, of four views, that shows the wound best: the usual one unless it hides the wound."""
    from visualize.render import view

    frames, _, cut = healing
    usual, _ = view(np.shape(frames)[1:4])
    alpha = np.asarray(frames)[[max(cut - 1, 0), cut], ..., 3] > 0.1
    lost = np.argwhere(alpha[0] & ~alpha[1])
    # A flat body hides nothing, and is known from one side only.
    if not len(lost) or 1 in np.shape(frames)[1:4]:
        return usual
    offset = lost.mean(axis=0) - np.argwhere(alpha[0]).mean(axis=0)
    turns = usual + np.array([0.0, 90.0, 180.0, 270.0])
    # The usual view gets a start of half a cell: a wound spread over the whole body is no reason to walk around it.
    nearness = offset[2] * np.cos(np.radians(turns)) + offset[1] * np.sin(np.radians(turns)) + [0.5, 0, 0, 0]
    return float(turns[nearness.argmax()])


def _timeline(filmed: FilmedLife) -> "Figure":
    """Draws IoU from the first cell to the healed body, one line for each damage."""
    from visualize import timeline

    axes = None
    grown = int(filmed.growth[1][-1])
    for index, (damage, (steps, iou)) in enumerate(filmed.timelines.items()):
        extra: dict[str, Any] = {}
        if axes is None:  # marks and bands are drawn once, under the first line
            last = int(np.asarray(steps)[-1])
            cuts = {int(at[cut]): "cut" for _, at, cut in filmed.heal.values()}
            extra = {"marks": cuts, "bands": {"grow": (0, grown), "heal": (max(cuts, default=grown), last)}}
        figure = timeline(steps, iou, label=display_name(damage), colour=(0, 2, 3, 4, 5)[index % 5], axes=axes, **extra)
        axes = figure.axes[0]
    return figure


def _hold(frames: list[Frames], steps: list[int]) -> None:
    """Appends the last frame a few times, so that the film stands still there."""
    frames.append(np.repeat(frames[-1][-1:], PAUSE, axis=0))
    steps += [steps[-1]] * PAUSE
