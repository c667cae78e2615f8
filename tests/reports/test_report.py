import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nca3d.errors import InputError
from nca3d.files import write_atomic
from nca3d.reports.body import LOGGED, measures, training_figures, write_body
from nca3d.reports.compare import compare
from nca3d.reports.life import FilmedLife
from nca3d.reports.report import Report, read_report

# They share the report of a trained run.
pytestmark = pytest.mark.slow

FIGURES = {
    "grow_iou": 0.97,
    "hold_iou_1000": 0.91,
    "heal_iou": {"half_space": np.float32(0.93), "sphere": float("nan")},
    "hurt_iou": {"half_space": 0.5, "sphere": 0.8},
    "horizon": 40,
    "params": 10368,
    "iterations": 900,
    "training_seconds": 283.4,
}


def story() -> dict:
    """A block with a coloured corner that grows by layers, loses half or a corner, and gets it back."""
    body = np.zeros((5, 4, 6, 4), np.float32)
    body[1:, 1:, 1:] = (0.2, 0.6, 0.4, 1)
    body[4, 1, 5] = (0.9, 0.3, 0.1, 1)
    growth = np.stack([np.where((np.arange(6) <= x)[:, None], body, 0) for x in (1, 2, 3, 4, 5)])
    half, corner = body.copy(), body.copy()
    half[:, :, 3:] = 0
    corner[3:, 2:, 3:] = 0
    steps = np.array([40, 40, 60, 80])
    heal = {
        "half_space": (np.stack([body, half, growth[3], body]), steps, 1),
        "sphere": (np.stack([body, corner, corner, body]), steps, 1),
    }
    timelines = {name: (np.array([0, 20, 40, 40, 80]), np.array([0, 0.6, 1, 0.5, 0.9])) for name in heal}
    return {
        "report": Report(FIGURES, {}, about={"title": "block <b>& corner</b>", "versions": {"nca3d": "0", "python": "3"}}),
        "filmed": FilmedLife((growth, np.array([0, 10, 20, 30, 40])), heal, timelines, body),
        "config_toml": 'regime = "regenerating"\nsize = [5, 4, 6]\nlimit = inf\n',
        "metrics": [{"iteration": i, "loss": 1 / (i + 1), "iou": i / 20} for i in range(20)],
        "moving": True,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCA3D_RENDERER", "raymarch")
        patch.setattr("nca3d.reports.life.FILM_SIZE", 120)
        assert write_body(run, **story()) == run / "report.html"
    return run


class Page(HTMLParser):
    """What a page refers to, and which tags it leaves open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "poster")]
        if tag not in ("meta", "img", "br", "link", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.slow
def test_everything_is_there_and_nothing_is_left_over(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    film = {"film.mp4", "film.gif"} & names
    pictures = {"growth.png", "heal-half_space.png", "heal-sphere.png", "curves.png", "timeline.png"}
    assert len(film) == 1
    assert names == pictures | film | {"report.json", "report.md", "report.html"}
    for name in pictures:
        with Image.open(folder / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape[1] > 600 and pixels[0, 0].min() > 250  # white paper
        assert (pixels < 200).any(axis=-1).mean() > 0.005  # and something on it
    assert json.loads((folder / "report.json").read_text())["about"]["files"][0] in film


def test_the_json_is_strict_and_whole(folder: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not strict JSON")

    record = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    assert record["grow_iou"] == 0.97
    assert record["heal_iou"]["sphere"] is None
    assert record["heal_iou"]["half_space"] == pytest.approx(0.93)
    assert record["schema"] == 1 and {"spread", "intervals", "series", "about"} <= record.keys()
    about = record["about"]
    assert about["config"]["regime"] == "regenerating" and about["config"]["limit"] is None
    assert about["versions"]["python"] == "3" and about["title"] == "block <b>& corner</b>"


def test_every_shape_of_report_is_read(folder: Path, tmp_path: Path) -> None:
    now = read_report(folder)
    assert now["heal_iou.half_space"] == pytest.approx(0.93) and now.about["versions"]["python"] == "3"
    about = {"title": "frog", "config": {"random_seed": 1}, "versions": {"python": "3"}, "files": ["film.mp4"]}
    (tmp_path / "run.json").write_text(json.dumps({**about, "figures": {"grow_iou": 0.9}}))
    old_run = read_report(tmp_path / "run.json")
    assert dict(old_run) == {"grow_iou": 0.9} and old_run.about == about
    evaluation = {"grow_iou": 0.8, "spread": {"grow_iou": [0.7, 0.9]}, "intervals": {"grow_iou": [0.7, 0.9]}, "series": {}}
    old = Report.from_json(json.dumps({**evaluation, "about": {"name": "zoo:frog"}}))
    assert dict(old) == {"grow_iou": 0.8} and old.intervals == {"grow_iou": [0.7, 0.9]} and old.about["name"] == "zoo:frog"
    table = compare({"now": now, "run": old_run, "old": old})[0]
    figure = compare({"runs/a/frog": now, "runs/b": old_run, "runs/b/": old})[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a/frog", "b", "b/"]
    assert "| grow_iou | 0.970 | 0.900 | 0.800 (0.700 – 0.900) |" in table and "schema" not in table
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "grow_iou": 0.9}))
    with pytest.raises(InputError, match=r"run\.json: schema: found 2, allowed up to 1: a newer nca3d wrote this report"):
        read_report(tmp_path / "run.json")


def test_the_page_stands_alone(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert not page.open
    film = ["film.mp4", "its poster"] if (folder / "film.mp4").exists() else ["film.gif"]
    moments = 5 + 1 + 2 * 4  # growth with the target, two strips of healing
    assert len(page.sources) == 2 * moments + 2 + len(film)  # each moment on white and on dark; two charts
    assert all(source.startswith(("data:image/", "data:video/")) for source in page.sources)
    assert not {"script", "link", "iframe", "b>"} & set(page.tags)
    bare = re.sub(r"data:[^\"]+", "", text)
    assert "http" not in bare and "url(" not in bare and "prefers-color-scheme: dark" in bare
    assert "block &lt;b&gt;&amp; corner&lt;/b&gt;" in bare and "<b>& corner" not in bare
    assert "0.970" in bare and "10,368" in bare and "4.7 min" in bare
    assert "goal 0.95 reached" in bare and "goal 0.93 missed" in bare and "not measured" in bare
    assert "nan" not in bare.lower().split()


def test_measures_follow_the_figures() -> None:
    found = list(measures(FIGURES))
    assert [(m.name, m.goal) for m in found] == [
        ("Grown", 0.95),
        ("Held", 0.93),
        ("IoU after healing, half space", 0.90),
        ("IoU after healing, sphere", 0.90),
    ]
    assert "step 40" in found[0].note and "1,000 steps later" in found[1].note and "0.50" in found[2].note
    assert [m.value for m in measures({"heal_iou.sphere": 0.8})] == [0.8]
    assert not list(measures({"params": 3}))


def test_a_mean_above_its_goal_is_not_reached_by_bodies_that_did_not_heal() -> None:
    report = Report({"heal_iou": {"half_space": 0.93, "sphere": 0.97}, "hurt_iou": {"half_space": 0.5}})
    report.put(("recovered", "half_space"), [1.0, 0.0, None, 1.0])
    report.put(("recovered", "sphere"), [1.0, None, 1.0, 1.0])
    page = report.to_html()
    assert "but only 2 of 3 bodies healed: back at 95% of their own IoU, and still so at the end" in page
    assert page.count("goal 0.90 reached") == 1
    assert "but only 67% of bodies healed" in Report({**report}).to_html()  # without the values behind the share


def test_iou_after_healing_and_the_share_that_healed_are_told_apart() -> None:
    report = Report({"heal_iou": {"sphere": 0.97}, "recovered": {"sphere": 0.5}, "regeneration": {"recovered_small": 0.5}})
    assert "| heal_iou.sphere | 0.970 |  |  | IoU after healing, two horizons later |" in report.to_markdown()
    assert "| recovered.sphere | 0.500 |  |  | healed: share of bodies back at 95 % of their IoU |" in report.to_markdown()
    page = report.to_html()
    assert "<td>heal_iou.sphere · IoU after healing" in page and "<td>recovered.sphere · healed: share of bodies" in page
    assert "<b>IoU after healing, sphere</b>" in page and "<b>Healed, small wounds</b>" in page
    table, figure = compare({"one": report, "other": report})
    assert "- heal_iou.*: IoU after healing" in table and "- recovered.*: healed: share of bodies" in table
    panels = {axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes}
    assert {"IoU after healing, sphere", "healed, small wounds"} <= panels


def test_a_figure_of_the_worst_body_has_no_interval_of_a_mean() -> None:
    """10 lies outside of 21.8 – 32.9, the interval of a mean that nobody shows; reports of before have it on the disk."""
    report = Report({"samples": 8})
    report.put("steps_held", [10, 30, 41, 20, 33, 28, 27, 24])
    report.put("grow_iou", [0.9, 1.0])
    assert report["steps_held"] == 10 and report.intervals["steps_held"] is None and len(report.spread["steps_held"]) == 8
    before = json.loads(report.to_json()) | {"intervals": {"steps_held": [21.8, 32.9], "grow_iou": [0.9, 1.0]}}
    for one in (report, Report.from_json(json.dumps(before)), Report({**report}, intervals={"steps_held": [21.8, 32.9]})):
        assert "| steps_held | 10 | " in one.to_markdown() and "| by the worst of 8 bodies |" in one.to_markdown()
        assert "<td>steps_held · by the worst of 8 bodies</td><td>10</td>" in one.to_html()
        assert "| steps_held | 10 (by the worst of 8 bodies) |" in compare({"one": one})[0]
        assert not any("21.8" in text for text in (one.to_markdown(), one.to_html(), compare({"one": one})[0]))


def test_the_curves_of_pattern_have_names_with_their_units() -> None:
    records = [{"iteration": i, **{key: i / 9 for panel in LOGGED.values() for key in panel}} for i in range(9)]
    pattern = dict(training_figures(records))["pattern"]
    labels = [text.get_text() for axes in pattern.axes for text in axes.get_legend().get_texts()]
    assert labels == [name for panel in LOGGED.values() for name in panel.values()]


def test_a_growing_run_without_damage_has_a_report_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    monkeypatch.setattr("nca3d.reports.life.FILM_SIZE", 96)
    monkeypatch.setattr("visualize.film.has_ffmpeg", lambda: False)
    parts = story() | {"metrics": [], "report": Report({}, {}), "config_toml": "not = [toml"}
    frames, steps = parts["filmed"].growth
    parts["filmed"] = FilmedLife((frames[:1] * 0, steps[:1]), {}, {}, parts["filmed"].target)  # a body that died at once
    write_body(tmp_path, **parts)
    assert (tmp_path / "film.gif").is_file() and not (tmp_path / "film.mp4").exists()
    assert json.loads((tmp_path / "report.json").read_text())["about"]["config"] == "not = [toml"
    assert not Page((tmp_path / "report.html").read_text()).open


@pytest.mark.slow
def test_progress_goes_to_stderr_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    monkeypatch.setattr("nca3d.reports.life.FILM_SIZE", 96)
    parts = story()
    write_body(tmp_path, **parts | {"filmed": FilmedLife((parts["filmed"].growth[0][:2], [0, 4]), {}, {})}, progress=True)
    said = capsys.readouterr()
    assert "report: film" in said.err and said.out == ""


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "report.json"
    write_atomic(place, b"old")

    def torn(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nca3d.files.atomic.os.fsync", torn)
    with pytest.raises(OSError, match="No space"):
        Report({"grow_iou": 1.0}, {}).to_json(place)
    assert place.read_bytes() == b"old" and list(tmp_path.iterdir()) == [place]
