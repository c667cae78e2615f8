"""The report of a cube, of made-up but likely figures: what is tested is what is written, not how well a cube answers."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from nca3d.cube.reports.page import cube_figures, cube_sections, examples_html, measures, write_cube_report
from nca3d.cube.reports.pictures import training_figures
from nca3d.cube.threshold import Threshold
from nca3d.reports.compare import compare
from nca3d.reports.report import Report

# They share the report of a trained cube.
pytestmark = pytest.mark.slow

SIZE, HORIZON = (11, 15, 15), 13
KINDS = ["arithmetic", "compass", "dialogue", "lattice"]
COUNTS = {"test": (38, 80, 38, 38), "compose": (30, 160, 0, 38), "validation": (28, 48, 18, 28), "train": (178, 608, 112, 170)}
KNOWN = {"test": (0.72, 0.58), "compose": (0.44, 0.36), "validation": (0.75, 0.6), "train": (0.98, 0.71)}
DAMAGES = ("half_space", "slab", "sphere", "shell", "random_cells")
EXAMPLES = [
    {
        "question": "Holding the coin, facing west, you turn right. What is your heading?",
        "right": "Now you face north with the coin.",
        "said": [["Now you face north with the coin.", 0.91], ["Now you face south with the coin.", 0.72], ["A ring.", 0.31]],
    },
    {
        "question": "What is <b>a</b> & b?",
        "right": "A grid of cells that all follow one local rule.",
        "said": [["A ring.", 0.41], ["A grid of cells that all follow one local rule.", 0.4], ["Twelve.", 0.33]],
    },
    {"question": "Seven and five?", "right": "Twelve.", "said": [["Thirteen <i>or so</i>.", 0.66], ["Eleven.", 0.61]]},
]


def wave(steps: int = 19) -> np.ndarray:
    """(T,D,H,W): activity that runs from the front face, where it is held, to the back face."""
    z, y, x = np.mgrid[: SIZE[0], : SIZE[1], : SIZE[2]]
    texture = 0.6 + 0.4 * np.sin(x * 0.9 + z) * np.cos(y * 0.7 - z / 2)
    arrived = [np.clip((step - z) / 2, 0, 1) * (0.4 + 0.6 * np.exp(-((z - step / 1.3) ** 2) / 12)) for step in range(steps)]
    return np.stack(arrived) * texture


def cube_report(full: bool = True) -> Report:
    generator = np.random.default_rng(0)
    figures: dict[str, Any] = {"split": {}, "ridge": {}, "margin": {}, "hurt": {}}
    spread: dict[str, list[float]] = {}
    retrieval, hurts = [], []
    for split, counts in COUNTS.items():
        everyone: dict[str, list[float]] = {"cube": [], "ridge": []}
        rows = []
        for kind, count in zip(KINDS, counts, strict=True):
            if count:
                row: dict[str, Any] = {"split": split, "kind": kind, "n": count}
                for name, rate in zip(("cube", "ridge"), KNOWN[split], strict=True):
                    right = (generator.random(count) < rate + 0.12 * np.sin(3 * len(kind))).astype(float)
                    row |= interval(name, right)
                    everyone[name] += right.tolist()
                rows.append(row)
        whole = {"split": split, "kind": "", "n": len(everyone["cube"])}
        retrieval += [whole | interval("cube", everyone["cube"]) | interval("ridge", everyone["ridge"]), *rows]
        for group, name in (("split", "cube"), ("ridge", "ridge")):
            figures[group][split] = {"top1": float(np.mean(everyone[name])), "top5": 0.9, "cosine": 0.7}
            spread[f"{group}.{split}.top1"] = everyone[name]
        figures["margin"][split] = figures["split"][split]["top1"] - figures["ridge"][split]["top1"]
    for damage in DAMAGES if full else DAMAGES[::4]:
        for severity in (0.05, 0.25, 0.5) if full else (0.25,):
            for state, kept in (("hurt", 1 - 1.3 * severity), ("healed", 1 - 0.2 * severity), ("dead", 1 - 0.9 * severity)):
                right = (generator.random(128) < 0.72 * kept).astype(float).tolist()
                name = f"{damage}.{round(100 * severity)}.{state}"
                spread[f"hurt.{name}.top1"] = right
                found = figures["hurt"].setdefault(damage, {}).setdefault(str(round(100 * severity)), {})
                found[state] = {"top1": np.mean(right)}
                row = {"damage": damage, "severity": severity, "state": state, **found[state]}
                hurts.append(row | {"cosine": 0.72 * kept - 0.3})
    z, y, x = np.indices(SIZE)
    series = {
        "retrieval": retrieval,
        "hurt": hurts,
        "unhurt": {"top1": 0.72, "top5": 0.9, "cosine": 0.7, "ridge_top1": 0.58},
        "specialisation": {
            "strength": (0.5 * np.abs(np.sin(x * 0.4 + y * 0.2)) * z / 10).tolist(),
            "preferred": ((x + z) // 5 % 4).tolist(),
            "kinds": KINDS,
        },
        "examples": EXAMPLES,
        "batches": [{"batch": 8, "samples_a_second": 12.5, "cells_a_second": 30938, "memory_mib": 410}],
    }
    figures |= {
        "chance": 1 / 824,
        "answers": 824,
        "cells_with_gradient": 2474 / 2475,
        "params": 33_103_475,
        "horizon": HORIZON,
        "iterations": 4000,
        "training_seconds": 5230.4,
        "seconds_per_epoch": 87.4,
        "samples_a_second": 12.53,
        "specialisation": 0.11,
        "approx": {"saved": 0.23, "error": float("nan")},
    }
    return Report(figures, spread, series, {"questions": "lattice", "size": list(SIZE), "teacher": "tfidf", "digest": "4f1c"})


def titled(report: Report, title: str, **about: Any) -> Report:
    report.about |= {"title": title, **about}
    return report


def interval(name: str, right: Any) -> dict[str, float]:
    mean, half = float(np.mean(right)), 1.96 * float(np.std(right)) / len(right) ** 0.5
    return {name: mean, f"{name}_low": max(mean - half, 0), f"{name}_high": min(mean + half, 1)}


def records() -> list[dict[str, Any]]:
    generator = np.random.default_rng(1)
    found = []
    for at in range(0, 4000, 20):
        fall = np.exp(-at / 900)
        noise = 1 + 0.08 * generator.standard_normal()
        record: dict[str, Any] = {
            "iteration": at,
            "loss": (0.2 + 2 * fall) * noise,
            "loss_surface": (0.05 + fall) * noise,
            "loss_internal": (0.1 + 0.4 * fall) * noise,
            "loss_dialogue": (0.05 + 4 * fall) * noise,
            "loss_reconstruction": (0.02 + 0.3 * fall) * noise,
            "top1": float(np.clip((1 - fall) * noise, 0, 1)),
            "top5": 0.9,
            "cosine": 1 - 0.8 * fall,
            "balance_surface": 1 + 0.3 * fall,
            "balance_dialogue": 1 - 0.3 * fall,
        }
        if at % 200 == 0:
            record |= {"validation_top1": 0.75 * (1 - fall), "validation_cosine": 0.8 * (1 - fall), "cells_with_gradient": 1.0}
        found.append(record)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("cube")
    path = write_cube_report(
        run / "made",
        titled(cube_report(), "lattice <b>& more", versions={"nca3d": "0", "python": "3"}),
        (wave(), range(19)),
        metrics=records(),
        config_toml='regime = "answering"\n# <script>\n',
    )
    assert path == run / "made" / "report.html"
    return path.parent


PICTURES = {"retrieval", "hurt", "hurt-cosine", "specialisation", "layers", "activity", "losses", "answers"}


@pytest.mark.slow
def test_everything_is_there_and_nothing_is_left_over(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    film = {"activity.mp4", "activity.gif"} & names
    assert len(film) == 1
    assert names == {f"{name}.png" for name in PICTURES} | film | {"report.json", "report.md", "report.html"}
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape[1] > 900 and pixels[0, 0].min() > 250  # white paper
        assert (pixels < 200).any(axis=-1).mean() > 0.005, name  # and something on it


def test_the_json_is_strict_and_can_be_read_again(folder: Path) -> None:
    text = (folder / "report.json").read_text()
    assert "NaN" not in text
    report = Report.from_json(text)
    assert report["split.test.top1"] == cube_report()["split.test.top1"] and report["approx"]["error"] is None
    assert report.intervals["hurt.slab.25.healed.top1"] == cube_report().intervals["hurt.slab.25.healed.top1"]
    found = np.array(report.series["layers"]["activity"])
    assert np.allclose(found, np.sqrt((wave() ** 2).mean(axis=(2, 3)))) and report.series["layers"]["steps"] == list(range(19))
    assert "| split.test.top1 |" in (folder / "report.md").read_text()


def test_the_page_stands_alone_and_escapes(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    sources = re.findall(r'(?:src|poster|href)="([^"]*)"', text)
    assert len(sources) == len(PICTURES) + 2 and all(source.startswith(("data:image/", "data:video/")) for source in sources)
    bare = re.sub(r"data:[^\"]+", "", text)
    assert "http" not in bare and "url(" not in bare and "<script" not in bare and "IoU" not in bare and "$" not in bare
    assert "lattice &lt;b&gt;&amp; more" in bare and "<b>& more" not in bare
    assert "What is &lt;b&gt;a&lt;/b&gt; &amp; b?" in bare and "<i>" not in bare
    for tag in ("div", "section", "article", "ol", "li", "figure", "table", "p", "h2"):
        assert len(re.findall(rf"<{tag}[ >]", bare)) == bare.count(f"</{tag}>"), tag
    for heading in ("Answers", "In its own words", "Damage", "What cells mind", "On its way", "Training"):
        assert f"<h2>{heading}</h2>" in bare
    assert "11 × 15 × 15 = 2,475 cells" in bare and "13 steps later" in bare and "824 answers" in bare
    assert "0.9996" in bare and "goal 1.00 missed" in bare  # one cell of 2,475 learns nothing
    assert "12.5 samples a second, 410 MiB" in bare and "Undamaged it answers 0.720" in bare


@pytest.mark.slow
def test_a_report_knows_its_own_page(folder: Path) -> None:
    page = Report.from_json((folder / "report.json").read_text()).to_html()
    assert "<h2>Damage</h2>" in page and "a question at its front face" in page and "cells occupied in both" not in page


def test_right_answers_are_told_without_colour() -> None:
    first, second, third = examples_html(EXAMPLES).split("</article>")[:3]
    assert first.count("✓") == 1 and "✗" not in first and 'class="first right"' in first and 'aria-label="right"' in first
    assert second.index("✗") < second.index("A ring.") < second.index("✓") < second.index("A grid of cells")
    assert third.index("✗") < third.index("✓") < third.index("Twelve.") < third.index("farther off")
    assert examples_html([]) == ""


def test_measures_have_goals() -> None:
    report = cube_report()
    found = {measure.name: measure for measure in measures(report)}
    assert found["Right, on new questions"].goal == report["ridge.test.top1"]
    assert found["Right, on new questions"].value == report["split.test.top1"]
    assert (found["Ahead, on new combinations"].goal, found["Cells that learn"].goal) == (0.10, 1.0)
    assert [m.goal for m in measures({"split": {"test": {"top1": 0.5}}, "chance": 0.01})] == [0.01]


def test_pictures_show_the_figures() -> None:
    report = cube_report()
    found = cube_figures(report)
    assert set(found) == {"retrieval", "hurt", "hurt-cosine", "specialisation"}
    axes = found["retrieval"].axes[0]
    known = [line for line in axes.lines if line.get_label() in ("cube", "ridge")]
    dots = {(line.get_label(), round(float(line.get_xdata()[0]), 6)) for line in known}
    assert {("cube", round(report["split.test.top1"], 6)), ("ridge", round(report["ridge.train.top1"], 6))} <= dots
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names[:2] == ["test · new questions", "all (194)"] and "dialogue (38)" in names and len(names) == 4 + 4 + 15
    panels = [axes for axes in found["hurt"].axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["half space", "slab", "sphere", "shell", "random cells"]
    healed = next(line for line in panels[1].lines if line.get_label() == "after healing")
    wanted = [row["top1"] for row in report.series["hurt"] if (row["damage"], row["state"]) == ("slab", "healed")]
    assert np.allclose(healed.get_ydata(), wanted)
    assert [tick.get_text() for tick in panels[-1].get_xticklabels()] == ["5 %", "25 %", "50 %"]
    assert {line.get_gid() for line in panels[0].lines} >= {"unhurt", "ridge", "chance"}
    cosine = found["hurt-cosine"].axes[0]
    assert cosine.get_ylim()[0] < min(row["cosine"] for row in report.series["hurt"]) < 0


def test_intervals_of_hurt_cubes_are_drawn_to_their_ends() -> None:
    row = {"damage": "slab", "severity": 0.25, "state": "hurt", "cosine": 0.1}
    report = Report({}, {}, {"hurt": [row]})
    report.intervals = {"hurt.slab.25.hurt.cosine": [-0.4, 0.6]}
    assert cube_figures(report)["hurt-cosine"].axes[0].get_ylim()[0] < -0.4


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3, 11, 40])
def test_a_layer_has_its_number_beside_its_middle(depth: int) -> None:
    layers = {"steps": [0, 1], "activity": np.ones((2, depth)).tolist()}
    axes = cube_figures(Report({}, {}, {"layers": layers}))["layers"].axes[0]
    numbers = [int(tick.get_text()) for tick in axes.get_yticklabels()]
    assert numbers[0] == 0 and 0 <= numbers[-1] < depth and len(numbers) <= 8
    assert axes.get_yticks().tolist() == [number + 0.5 for number in numbers]
    assert axes.get_ylim() == (0, depth) and (depth > 8 or numbers == list(range(depth)))


def asked_of(kinds: list[str]) -> Figure:
    preferred = np.arange(48).reshape(3, 4, 4) % len(kinds)
    found = {"strength": np.full((3, 4, 4), 0.3).tolist(), "preferred": preferred.tolist(), "kinds": kinds}
    return cube_figures(Report({}, {}, {"specialisation": found}))["specialisation"]


def test_questions_of_one_kind_or_of_very_many_have_their_picture() -> None:
    (words,) = asked_of(["question"]).texts
    assert "all questions are of one kind" in words.get_text()
    names = {text.get_text() for text in asked_of([f"kind_{n}" for n in range(12)]).findobj(Text)}
    assert {"kind 0", "kind 6", "all other kinds"} <= names and not {"kind 7", "kind 11"} & names


def covered(figure: Figure) -> list[Axes]:
    """The panels of a picture whose legend lies on them."""
    figure.draw_without_rendering()
    keys = [(axes, axes.get_legend()) for axes in figure.axes]
    return [axes for axes, key in keys if key and key.get_window_extent().y0 < axes.get_window_extent().y1]


@pytest.mark.slow
def test_no_legend_of_a_training_lies_on_its_curves() -> None:
    without = [{name: value for name, value in record.items() if not name.startswith("balance")} for record in records()]
    for metrics in (records(), without):
        figures = training_figures(metrics)
        assert figures["losses"].axes[0].get_legend() and figures["answers"].axes[1].get_legend()
        for figure in figures.values():
            assert not covered(figure)
            width = figure.bbox.width
            spans = [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
            assert all(span.x0 >= 0 and span.x1 <= width and span.y1 <= figure.bbox.height for span in spans)
            assert all(left.x1 < right.x0 for left, right in itertools.pairwise(spans)), "nor on the next one"


@pytest.mark.slow
def test_cubes_are_compared_by_their_own_figures() -> None:
    cube, body = cube_report(), Report({"grow_iou": 0.97, "heal_iou": {"sphere": 0.9}}, {})
    few = Report({"split": {"test": {"top1": 0.5}}}, {})
    table, figure = compare({"few": few, "cube": cube})
    panels = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
    splits = [f"split.{split}.top1" for split in COUNTS]
    assert panels[:8] == [*splits, *(f"margin.{split}" for split in COUNTS)], "whichever report is the first"
    assert "hurt.slab.25.healed.top1" in panels and "hurt.random cells.25.healed.top1" in panels
    assert not {"hurt.slab.50.healed.top1", "split.test.cosine"} & set(panels)
    strokes = [line for line in figure.axes[0].lines if line.get_gid() == "interval"]
    assert [list(line.get_xdata()) for line in strokes][-1] == cube.intervals["split.test.top1"]
    assert "in common" not in table and "in common" not in compare({"body": body, "other": body})[0]
    line = compare({"cube": cube, "body": body})[0].splitlines()[-1]
    assert line == "Cubes (cube) and bodies (body) have no headline in common."


def test_curves_leave_out_what_was_not_logged() -> None:
    assert training_figures([]) == {} and training_figures([{"iteration": 1, "loss": None}]) == {}
    found = training_figures(records())
    labels = {line.get_label() for line in found["losses"].axes[0].lines}
    assert {"loss", "loss surface", "loss dialogue"} <= labels and found["losses"].axes[0].get_yscale() == "log"
    assert {"top1", "validation top1"} <= {line.get_label() for line in found["answers"].axes[0].lines}
    assert set(training_figures([{"iteration": 1, "loss": 0.0}])) == {"losses"}


@pytest.mark.slow
def test_a_small_evaluation_has_a_small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("visualize.film.has_ffmpeg", lambda: False)
    report = Report({"split": {"test": {"top1": 0.2}}}, {}, {"retrieval": [], "hurt": [], "examples": []})
    write_cube_report(tmp_path, titled(report, "bare"), progress=True)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json", "report.md"}
    text = (tmp_path / "report.html").read_text()
    assert [heading for heading in re.findall("<h2>(.*?)</h2>", text)] == ["Details"] and "<video" not in text
    said = capsys.readouterr()
    assert "report.html" in said.err and said.out == ""
    dead = wave(3)
    dead[1:, 4] = np.nan
    write_cube_report(tmp_path, titled(report, "diverged"), (dead, [0, 1, 2]))
    assert (tmp_path / "activity.gif").is_file() and not (tmp_path / "activity.mp4").exists()
    with Image.open(tmp_path / "activity.gif") as film:
        assert film.n_frames >= 3
        film.seek(film.n_frames - 1)
        pixels = np.asarray(film.convert("RGB")).astype(int)
    assert ((pixels[..., 0] > 240) & (pixels[..., 1] < 15) & (pixels[..., 2] > 240)).sum() > 1000  # a dead layer is seen


def test_the_page_says_when_the_cube_is_not_sure() -> None:
    report = Report(
        {
            "threshold": Threshold(0.474, 0.069, "validation", 122, 7, "abc").record(),
            "sure": {"test": {"share": 0.62, "top1": 0.8}, "unrelated": {"share": 0.06}},
            "unsure": {"test": {"top1": None}},
        },
        series={"examples": [{"question": "why?", "right": "so", "said": [["so", 0.4]], "doubt": "it is <far>"}]},
    )
    (part,) = [section.html({}) for section in cube_sections(report) if section.title == "When it is not sure"]
    assert "below 0.474, or 0.069 or less above" in part
    assert "122 questions of split validation" in part
    assert "sure of 62 % of its answers, of these 80 % are right<" in part
    assert "sure of 6 % of its answers<" in part
    assert "not sure: it is &lt;far&gt;" in examples_html(report.series["examples"])
    # Reports of older versions have none of it.
    assert not any(section.html({}) for section in cube_sections(Report({})) if section.title == "When it is not sure")
