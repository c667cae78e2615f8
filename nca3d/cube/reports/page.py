"""The report of a cube as a folder: figures, pictures, a film of a question on its way, and one self-contained page."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nca3d.cube.reports.pictures import ACTIVITY, SPLITS, activity_by_layer, cube_figures, training_figures
from nca3d.cube.threshold import THRESHOLD, Threshold
from nca3d.files import vacate
from nca3d.reports.folder import write_folder
from nca3d.reports.page import Kind, Measure, Section, Words, film_html
from nca3d.reports.pictures import data_url, png_of_pixels
from nca3d.reports.report import Report
from nca3d.reports.training import took
from nca3d.reports.values import as_text, flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Activity (T, D, H, W) of one question on its way, and the steps (T,) at which it was recorded.
Moving = tuple[NDArray[np.floating], Sequence[int] | NDArray[np.integer]]
# Frames of the film a second, and how many of them show the last step: a second to look at the answer.
FILM_FPS, HELD = 5, 5

# The figures that a comparison of reports draws. Of all damage it is that of a quarter of the cells, which every preset has.
HEADLINES = ("split.*.top1", "margin.*", "hurt.unhurt.top1", "hurt.*.25.*.top1")

FOOTER = (
    "Top-1: the share of questions to which the right answer is, by cosine, nearer than any other to what the back face "
    "shows. Ridge regression is a linear map from a question's embedding to its answer's, fitted to the same "
    "questions. Intervals are 95 % intervals over questions: of top-1 and top-5 Wilson's, of all else by bootstrap."
)


def write_cube_report(
    folder: Path,
    report: Report,
    moving: Moving | None = None,
    *,
    metrics: Sequence[Mapping[str, Any]] = (),
    config_toml: str = "",
    progress: bool = False,
) -> Path:
    """Writes report.json, report.md, pictures, activity.mp4 (or .gif) and report.html into a folder, each whole or not at all.

    The page leaves out what wasn't measured.

    Args:
        folder: Where to write; it is made if need be.
        report: The report that `evaluate_cube` returned.
        moving: The activity (T, D, H, W) of one question on its way and its steps (T,), for the film; None = no film.
        metrics: The records of a training, for its curves.
        config_toml: The run's config as it was loaded.
        progress: Whether to tell on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    if moving is not None:
        moving = np.asarray(moving[0]), [int(step) for step in moving[1]]
        layers = {"steps": moving[1], "activity": activity_by_layer(moving[0])}
        report = Report(report, report.spread, {"layers": layers, **report.series}, report.about, report.intervals)
    # Numbers that are not finite have no place in JSON.
    report = report.strict()

    # A generator: each figure is written before the next one is drawn, so that not all are in memory at once.
    def pictures() -> "Iterator[tuple[str, Figure]]":
        if moving is not None:
            yield "activity", _still(moving, report)
        yield from cube_figures(report).items()
        yield from training_figures(metrics).items()

    return write_folder(
        folder,
        report,
        cube_words,
        pictures(),
        hero=None if moving is None else lambda folder: _film(folder, *moving),
        config_toml=config_toml,
        progress=progress,
    )


# The text of the page -------------------------------------------------------------------------------------------------


def cube_words(report: Report, pictures: Collection[str] = ()) -> Words:
    """Returns the text of a cube's page.

    Args:
        report: The report.
        pictures: The names of the pictures that were drawn; the text does not depend on them.
    """
    title = report.about.get("title", f"{report.about.get('questions', 'questions')} · a cube that answers")
    return Words(title, cube_lead(report), cube_sections(report), measures(report), FOOTER)


def measures(report: Mapping[str, Any]) -> Iterator[Measure]:
    """Yields the figures that have a goal: does it know, does it beat ridge regression, do all its cells learn?"""
    figures = dict(flat(report))
    if "split.test.top1" in figures:
        # Ridge regression is the rival that counts: what it reaches too, needs no cells that talk to each other.
        ridge = figures.get("ridge.test.top1")
        rival = "ridge regression on the same embeddings" if ridge is not None else "chance"
        note = f"share answered right (top-1); the goal is what {rival} reaches"
        goal = ridge if ridge is not None else figures.get("chance") or 0.0
        yield Measure("Right, on new questions", note, figures["split.test.top1"], goal)
    if "margin.compose" in figures:
        note = "share answered right, less that of ridge regression"
        yield Measure("Ahead, on new combinations", note, figures["margin.compose"], 0.10)
    if "cells_with_gradient" in figures:
        note = "share of cells that the answer's loss reaches"
        yield Measure("Cells that learn", note, figures["cells_with_gradient"], 1.0)


def cube_sections(report: Report) -> list[Section]:
    """Returns the sections of the page, in order; a page omits those without pictures, rows and examples."""
    undamaged = report.series.get("unhurt", {}).get("top1")
    before = f" Undamaged it answers {as_text(undamaged)} of the same questions right." if undamaged is not None else ""
    return [
        Section(
            "Answers",
            "What the back face shows is looked up among all answers: how often the right one is the nearest, beside "
            "what linear (ridge) regression from a question's embedding to its answer's reaches.",
            [("retrieval", "In brackets how many questions. Strokes are 95 % Wilson intervals over questions.")],
        ),
        Section(
            "In its own words",
            "What the cube said to some questions: the nearest answers first, with their cosine. ✓ marks the right answer, "
            "✗ a wrong one that it put first.",
            more=examples_html(report.series.get("examples", ())),
        ),
        _doubts(report),
        Section(
            "Damage",
            "Cells are set to zero once the cube has its answer; the question stays at the front face." + before,
            [
                ("hurt", "Read at once, after as many steps again, or with those cells silent for good; 95 % intervals."),
                ("hurt-cosine", "The same by cosine, which sees damage before an answer is lost."),
            ],
        ),
        Section(
            "What cells mind",
            "Cells that all learnt for themselves can come to mind different kinds of questions.",
            [
                (
                    "specialisation",
                    "The colour is the kind of question whose mean lies farthest from the mean of all; pale cells "
                    "do the same whatever is asked.",
                )
            ],
        ),
        Section(
            "On its way",
            "One question, from the front face, where it is held, to the back face, where the answer is read.",
            [
                ("layers", "Activity of each layer at each step."),
                ("activity", "Every cell at the step at which the answer is read."),
            ],
        ),
        Section(
            "Training",
            "What was asked for, and how many answers were right.",
            [
                ("losses", "Thin: every record. Thick: smoothed."),
                ("answers", "Questions of a batch, among the rivals of their answers; validation, among all answers."),
            ],
            _batches(report.series.get("batches", ())),
        ),
        took(report),
    ]


def _doubts(report: Report) -> Section:
    """Returns the part on when the cube is not sure; it is empty, and so left out, where no threshold was measured."""
    threshold = Threshold.read(report.get(THRESHOLD))
    if threshold is None:
        return Section("When it is not sure", "")
    lead = (
        f"It is not sure of an answer whose score, the cosine, is below {threshold.score:.3f}, or {threshold.lead:.3f} or less "
        f"above that of the second. Both were measured on {threshold.questions:,} questions of split {threshold.split}: 95 of "
        f"100 right answers reach the score, and answers with a smaller lead were more often wrong than right."
    )
    rows = {}
    for split, sure in report.get("sure", {}).items():
        share = sure.get("share")
        if share is None:
            continue
        parts = [f"sure of {100 * share:.0f} % of its answers"]
        # Questions of something else have no right answer.
        for group, when in (("sure", "of these"), ("unsure", "of the others")):
            right = report.get(group, {}).get(split, {}).get("top1")
            parts += [] if right is None else [f"{when} {100 * right:.0f} % are right"]
        rows[SPLITS.get(split, split)] = ", ".join(parts)
    return Section("When it is not sure", lead, rows=rows)


def examples_html(examples: Iterable[Mapping[str, Any]]) -> str:
    """Returns cards of questions with what the cube said, as HTML; a sign and a word mark right answers, not colour alone.

    Args:
        examples: Dicts of "question", "right" (the right answer) and "said", pairs of an answer and its cosine; and, where a
            threshold was measured, "doubt", why the cube is not sure ("" = it is).
    """
    cards = []
    for example in examples:
        answers = [(str(answer), as_text(score)) for answer, score in example["said"]]
        right = str(example["right"])
        if right not in [answer for answer, _ in answers]:
            # The right answer is always on the card, even where the cube put it far down.
            answers.append((right, "farther off"))
        lines = [_answer(answer, score, answer == right, place == 0) for place, (answer, score) in enumerate(answers)]
        doubt = f"<small>not sure: {escape(str(example['doubt']))}</small>" if example.get("doubt") else ""
        cards.append(f"<article><h3>{escape(str(example['question']))}</h3><ol>{''.join(lines)}</ol>{doubt}</article>")
    return f'<div class="asked">{"".join(cards)}</div>' if cards else ""


def _answer(answer: str, score: str, right: bool, first: bool) -> str:
    """Returns one answer as a list item, with a mark where it is right, or where it is wrong and the cube put it first."""
    sign, word = ("✓", "right") if right else ("✗", "wrong") if first else ("", "")
    mark = f'<b role="img" aria-label="{word}">{sign}</b>' if sign else "<b></b>"
    return f'<li class="{"first " * first}{word}">{mark}{escape(answer)}<span>{escape(score)}</span></li>'


def cube_lead(report: Report) -> str:
    """Returns what was asked of which cube, in one sentence with the report's own numbers."""
    size, answers, horizon = report.about.get("size"), report.get("answers"), report.get("horizon")
    cube = f"A cube of {' × '.join(map(str, size))} = {math.prod(size):,} cells" if size else "A cube of cells"
    wait = f"{horizon:,} steps later" if horizon else "later"
    among = f"{answers:,} answers" if answers else "all answers"
    return (
        f"{cube} gets a question at its front face; what its back face shows {wait} is looked up among {among}. "
        "Every cell sees its neighbours alone."
    )


def _batches(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the speed and memory of training as rows of a table, by batch size."""
    return {
        f"one step forward and back, batch {row['batch']}": f"{row['samples_a_second']:,.3g} samples a second, "
        f"{row['memory_mib']:,} MiB"
        for row in rows
    }


# The pictures of activity ---------------------------------------------------------------------------------------------


def _still(moving: Moving, report: Report) -> "Figure":
    """Draws the activity of every cell when the answer is read, in the colours of the film."""
    import visualize

    activity, steps = moving
    horizon = report.get("horizon")
    # A recording may be shorter than the horizon; then its last step is shown.
    index = list(steps).index(horizon) if horizon in steps else len(steps) - 1
    return visualize.layers(activity[index], label=f"{ACTIVITY}, step {steps[index]}", limits=_limits(activity))


def _limits(activity: NDArray[np.floating]) -> tuple[float, float]:
    """Returns the range of colours for a whole recording, so that all its frames can be compared."""
    from visualize.film import activity_limits

    return activity_limits(np.where(np.isfinite(activity), activity, np.nan).astype(np.float32))


def _film(folder: Path, activity: NDArray[np.floating], steps: Sequence[int]) -> tuple[str, list[str]]:
    """Writes the film, which rests on its last step; returns its HTML and its file's name."""
    import visualize
    from visualize.film import Screen, has_ffmpeg

    # A GIF is larger, but needs no other program.
    path = vacate(folder / ("activity.mp4" if has_ffmpeg() else "activity.gif"))
    frames, counted = np.concatenate([activity, *[activity[-1:]] * HELD]), [*steps, *[steps[-1]] * HELD]
    options: dict[str, Any] = {"label": ACTIVITY, "steps": counted, "limits": _limits(activity), "fps": FILM_FPS}
    visualize.layers_film(frames, path, **options)
    # Before it is played, and on paper, the film shows its last frame.
    poster = data_url(png_of_pixels(Screen(frames, **options).draw(len(frames) - 1)))
    words = "film of activity in all layers of the cube"
    return film_html(data_url(path.read_bytes(), path.suffix), poster, words, chart=True), [path.name]


CUBES = Kind(HEADLINES, cube_figures, cube_words)
