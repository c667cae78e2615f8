"""The report of a run: pictures, film, figures and one self-contained page, written into the run's folder."""

from __future__ import annotations

import base64
import json
import math
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nca3d.reports.page import film_html, render_page, run_sections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Frames = NDArray[np.floating]
Steps = NDArray[np.integer] | Sequence[int]
Growth = tuple[Frames, Steps]
Healing = tuple[Frames, Steps, int]

GROWTH_FRAMES = 11  # and the target: two rows of six
HEALING_FRAMES = 4  # and before and cut: one row of six
FILM_FPS, FILM_SIZE, FILM_ORBIT = 10, 480, 360.0
LOGGED = {
    "of the bodies at hand": ("pattern_morans_i", "pattern_compressibility"),
    "bits": ("pattern_spatial_entropy", "pattern_neighbour_information"),
    "of the pool": ("pool_distance_mean", "pool_distance_nearest"),
}
"""What is drawn of pattern and diversity over training, by panel."""

PAUSE = 6  # frames that a grown and a healed body are held


def write_report(
    folder: Path,
    *,
    title: str,
    figures: Mapping[str, Any],
    config_toml: str,
    versions: Mapping[str, str],
    metrics: Sequence[Mapping[str, Any]],
    growth: Growth,
    heal: Mapping[str, Healing],
    target_rgba: Frames,
    timelines: Mapping[str, tuple[Steps, NDArray[np.floating]]],
    progress: bool = False,
) -> Path:
    """Writes growth.png, heal-*.png, curves.png, timeline.png, film.mp4 (or .gif), report.json and report.html.

    Every file is written beside and renamed, so that a stopped run leaves none half written.

    Args:
        folder: the run's folder, which exists.
        title: what grew, in a few words.
        figures: floats by name, nested by damage (`heal_iou`); non-finite ones are shown as missing.
        config_toml: the run's config as it was loaded.
        versions: what ran, by name.
        metrics: the records of training, for the curves.
        growth: frames (T,D,H,W,4) straight RGBA and steps (T,), from the seed to the grown body.
        heal: by damage: frames (T,D,H,W,4), steps (T,) and the index of the first frame after the cut.
        target_rgba: (D,H,W,4), the body asked for.
        timelines: by damage: steps (T,) and IoU (T,).
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    import visualize

    def say(what: str) -> None:
        if progress:
            print(f"report: {what}", file=sys.stderr, flush=True)

    pictures: dict[str, str] = {}
    say("growth")
    pictures["growth"] = _save_figure(growth_strip(growth, target_rgba), folder / "growth.png")
    for damage, healing in heal.items():
        say(f"healing, {_words(damage)}")
        pictures[f"heal-{damage}"] = _save_figure(healing_strip(healing), folder / f"heal-{damage}.png")
    say("curves")
    pictures["curves"] = _save_figure(visualize.curves(metrics), folder / "curves.png")
    if any("pattern_morans_i" in record for record in metrics):
        pictures["pattern"] = _save_figure(visualize.logged(metrics, LOGGED), folder / "pattern.png")
    if timelines:
        pictures["timeline"] = _save_figure(_timeline(growth, heal, timelines), folder / "timeline.png")
    say("film")
    film = _film(folder, growth, heal)
    poster = data_url(portrait(growth[0][-1]), "image/png")
    record = {
        "title": title,
        "figures": figures,
        "config": _config(config_toml),
        "versions": versions,
        "files": [film.name, *(f"{name}.png" for name in pictures)],
    }
    clean = _strict(record)
    write_file(folder / "report.json", (json.dumps(clean, indent=2, allow_nan=False) + "\n").encode())
    page = render_page(
        title=title,
        lead=_lead(growth, heal),
        hero=film_html(data_url(film.read_bytes(), "video/mp4" if film.suffix == ".mp4" else "image/gif"), poster),
        sections=run_sections(pictures),
        pictures=pictures,
        figures=clean["figures"],
        config_toml=config_toml,
        versions=versions,
    )
    write_file(folder / "report.html", page.encode())
    say(str(folder / "report.html"))
    return folder / "report.html"


def write_file(path: Path, content: bytes) -> None:
    """Writes a file beside its place and renames it: readers see the old one or the whole new one."""
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _save_figure(figure: Figure, path: Path) -> str:
    """Writes a Figure as PNG; returns it as a data URL for the page."""
    picture = png_of(figure)
    write_file(path, picture)
    return data_url(picture, "image/png")


def png_of(figure: Figure) -> bytes:
    """A Figure as PNG, at the resolution of reports."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=144)
    return stream.getvalue()


def growth_strip(growth: Growth, target_rgba: Frames | None = None) -> Figure:
    """A body that grows, and the target beside it if given."""
    import visualize

    frames = _chosen(growth[0], GROWTH_FRAMES + (target_rgba is None))
    labels = _step_words(_chosen(np.asarray(growth[1]), GROWTH_FRAMES + (target_rgba is None)))
    if target_rgba is None:
        return visualize.film_strip(frames, labels)
    return visualize.film_strip(np.concatenate([frames, target_rgba[None]]), [*labels, "target"])


def healing_strip(healing: Healing) -> Figure:
    """A body before and after a cut, and how it heals, from where the wound is seen best."""
    import visualize

    frames, labels = _healing_frames(healing)
    return visualize.film_strip(frames, labels, azimuth=_facing(healing))


def portrait(frame: Frames) -> bytes:
    """One body, (D, H, W, 4), as a square PNG."""
    from PIL import Image

    import visualize

    stream = BytesIO()
    Image.fromarray(visualize.volume(frame, size=(FILM_SIZE, FILM_SIZE))).save(stream, "PNG")
    return stream.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Bytes as a URL that a page can hold: nothing is loaded from elsewhere."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _chosen(values: NDArray[Any], count: int) -> NDArray[Any]:
    """At most `count` of the first axis, evenly spread, first and last among them."""
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def _step_words(steps: Steps) -> list[str]:
    return [f"step {int(step)}" for step in steps]


def _healing_frames(healing: Healing) -> tuple[Frames, list[str]]:
    """Before, cut, and healing to its end; the early frames are closer together, because most happens there."""
    frames, steps, cut = healing
    after = len(frames) - 1 - cut
    chosen = {cut + round(after**share) for share in np.linspace(0, 1, HEALING_FRAMES)} if after else set()
    before = [cut - 1] if cut > 0 else []
    indices = [*before, cut, *sorted(chosen)]
    since = [f"+{int(steps[index]) - int(steps[cut])} steps" for index in indices[len(before) + 1 :]]
    return np.asarray(frames)[indices], [*(["before"] if before else []), "cut", *since]


def _facing(healing: Healing) -> float:
    """The three-quarter view (degrees) from which the wound is seen best: the usual one unless it hides the wound."""
    from visualize.render import AZIMUTH

    frames, _, cut = healing
    alpha = np.asarray(frames)[[max(cut - 1, 0), cut], ..., 3] > 0.1
    lost = np.argwhere(alpha[0] & ~alpha[1])
    if not len(lost):
        return AZIMUTH
    offset = lost.mean(axis=0) - np.argwhere(alpha[0]).mean(axis=0)
    turns = AZIMUTH + np.array([0.0, 90.0, 180.0, 270.0])
    # The usual view gets a start of half a cell: a wound spread over the whole body is no reason to walk around it.
    seen = offset[2] * np.cos(np.radians(turns)) + offset[1] * np.sin(np.radians(turns)) + [0.5, 0, 0, 0]
    return float(turns[seen.argmax()])


def _timeline(growth: Growth, heal: Mapping[str, Healing], timelines: Mapping[str, tuple[Steps, Any]]) -> Figure:
    """IoU from the seed to healed, one line for each damage."""
    from visualize import timeline

    axes = None
    grown = int(growth[1][-1])
    for index, (damage, (steps, iou)) in enumerate(timelines.items()):
        extra: dict[str, Any] = {}
        if axes is None:
            last = int(np.asarray(steps)[-1])
            cuts = {int(at[cut]): "cut" for _, at, cut in heal.values()}
            extra = {"marks": cuts, "bands": {"grow": (0, grown), "heal": (max(cuts, default=grown), last)}}
        figure = timeline(steps, iou, label=_words(damage), colour=(0, 2, 3, 4, 5)[index % 5], axes=axes, **extra)
        axes = figure.axes[0]
    return figure


def _film(folder: Path, growth: Growth, heal: Mapping[str, Healing]) -> Path:
    """Grow, hold, cut and heal (of the first damage) in one turn around the body; a GIF where ffmpeg is missing."""
    import visualize
    from visualize.film import has_ffmpeg

    frames, steps = [np.asarray(growth[0])], [int(step) for step in growth[1]]
    marks: dict[int, str] = {}
    _hold(frames, steps)
    if heal:
        damage, (healing, healing_steps, cut) = next(iter(heal.items()))
        # The body before the cut is the grown one that is already held, unless the trajectory went on in between.
        start = next((index for index in range(cut) if healing_steps[index] > steps[-1]), cut)
        marks[len(steps) + cut - start] = f"cut: {_words(damage)}"
        frames.append(np.asarray(healing)[start:])
        steps += [int(step) for step in healing_steps[start:]]
        _hold(frames, steps)
    path = folder / ("film.mp4" if has_ffmpeg() else "film.gif")
    return visualize.animate(
        np.concatenate(frames), path, fps=FILM_FPS, size=FILM_SIZE, orbit=FILM_ORBIT, steps=steps, damage_at=marks
    )


def _hold(frames: list[Frames], steps: list[int]) -> None:
    frames.append(np.repeat(frames[-1][-1:], PAUSE, axis=0))
    steps += [steps[-1]] * PAUSE


def _lead(growth: Growth, heal: Mapping[str, Healing]) -> str:
    """What is to be seen, in one sentence with its own numbers."""
    depth, height, width = growth[0].shape[1:4]
    words = f"One cell on a lattice of {depth} × {height} × {width} grows into a body in {int(growth[1][-1])} steps"
    if heal:
        words += ", is cut and left to heal: " + ", ".join(_words(damage) for damage in heal)
    return words + ". Every cell runs the same small rule and sees its neighbours alone."


def _words(name: str) -> str:
    return name.replace("_", " ")


def _config(config_toml: str) -> Any:
    """The config as a mapping; as text if it isn't TOML."""
    try:
        return tomllib.loads(config_toml)
    except tomllib.TOMLDecodeError:
        return config_toml


def _strict(value: Any) -> Any:
    """The same value in what strict JSON can say: non-finite numbers become null, numpy's become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _strict(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    if isinstance(value, np.generic):
        return _strict(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
