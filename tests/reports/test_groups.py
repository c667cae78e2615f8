"""Runs in groups: mean, spread and interval, in Markdown, CSV and LaTeX alike."""

import csv
import statistics
from pathlib import Path

import pytest

from nca3d.reports.groups import Group, GroupTable, Spread, write_tables
from nca3d.reports.values import bootstrap

VALUES = [0.9, 0.95, 0.85]


def table() -> GroupTable:
    return GroupTable(
        ("fire_rate", "losses.a|b"),
        ("grow_iou", "loss"),
        [
            Group(("0.5", "x_y"), [{"grow_iou": value, "loss": value / 1000} for value in VALUES]),
            Group(("1", "50 %"), [{"grow_iou": 0.25}], ("2 failed", "1 ended early")),
            Group(("1", "~"), []),
        ],
        "random seeds",
    )


def test_a_spread_is_that_of_a_sample_with_the_interval_of_the_reports() -> None:
    spread = Spread.of(VALUES)
    assert (spread.count, spread.mean, spread.deviation) == (3, statistics.fmean(VALUES), statistics.stdev(VALUES))
    low, high = bootstrap(VALUES) or (0, 0)
    assert spread.interval == (low, high) and min(VALUES) <= low < high <= max(VALUES)
    assert Spread.of([0.5]) == Spread(1, 0.5) and Spread.of([]) == Spread(0)
    assert Spread.of([0.5]).text() == "0.500" and Spread.of([]).text() == "—"
    assert Spread.of([0.001, 0.003]).text().startswith("0.002 ± 0.00141 (")


def test_the_three_tables_have_the_same_rows() -> None:
    lines = table().to_markdown().splitlines()
    assert lines[0] == r"| fire_rate | losses.a\|b | n | grow_iou | loss | notes |"
    assert lines[2].startswith("| 0.5 | x_y | 3 | 0.900 ± 0.050 (0.8") and "random seeds" in lines[-1]
    assert lines[3] == "| 1 | 50 % | 1 | 0.250 | — | 2 failed, 1 ended early |"
    rows = list(csv.DictReader(table().to_csv().splitlines()))
    assert [row["grow_iou.n"] for row in rows] == ["3", "1", "0"] and float(rows[0]["grow_iou.sd"]) == pytest.approx(0.05)
    assert rows[1]["loss.mean"] == "" and rows[2]["grow_iou.low"] == "" and rows[1]["notes"] == "2 failed; 1 ended early"
    latex = table().to_latex().splitlines()
    body = latex[latex.index(r"\midrule") + 1 : latex.index(r"\bottomrule")]
    assert len(body) == 3 and all(line.count(" & ") == 5 and line.endswith(r"\\") for line in body)
    assert body[0].startswith(r"0.5 & x\_y & 3 & 0.900 $\pm$ 0.050 (") and body[1].startswith(r"1 & 50 \% & 1 & 0.250 & --- &")
    assert r"\begin{tabular}{llrrrl}" in latex


def test_without_notes_there_is_no_column_of_them() -> None:
    alone = GroupTable((), ("loss",), [Group((), [{"loss": 1.0}, {"loss": 2.0}])])
    assert alone.to_markdown().splitlines()[0] == "| n | loss |" and r"{rr}" in alone.to_latex()


@pytest.mark.slow
def test_the_chart_has_a_dot_for_each_run(tmp_path: Path) -> None:
    figure = table().figure()
    first, second = figure.axes
    marks = {name: [line for line in first.lines if line.get_gid() == name] for name in ("value", "mean", "interval")}
    assert sorted(marks["value"][0].get_xdata()) == sorted(VALUES) and len(marks["value"]) == len(marks["mean"]) == 2
    assert marks["mean"][0].get_xdata()[0] == pytest.approx(0.9) and "not measured" in [
        text.get_text() for text in second.texts
    ]
    assert [label.get_text() for label in first.get_yticklabels()] == ["0.5, x_y", "1, 50 %", "1, ~"]
    files = write_tables(tmp_path, table(), picture="sweep")
    assert [file.name for file in files] == ["table.md", "table.csv", "table.tex", "sweep.png"]
    assert all(file.stat().st_size > 100 for file in files)
