"""`nca3d render`: every kind of file from one command, bad input in one line."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

import nca3d
from nca3d import cli
from nca3d.evaluation.story import Cut, tell

QUICK = ["--steps", "20", "--every", "5", "--pixels", "96"]


@pytest.fixture(autouse=True)
def without_opengl(monkeypatch):
    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")


def frames(path):
    with Image.open(path) as film:
        shown = []
        for index in range(getattr(film, "n_frames", 1)):
            film.seek(index)
            shown.append(np.asarray(film.convert("RGB")).astype(int))
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("style", ["voxels", "surface", "activity"])
def test_films_of_every_style_move(style, tmp_path, capsys):
    out = tmp_path / f"{style}.webp"
    argv = ["render", "zoo:cross", "--out", str(out), "--style", style, "--damage", "10:half_space:0.5:+x", *QUICK]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.strip() == str(out)
    film = frames(out)
    assert len(film) == 6  # steps 0, 5, 10, cut, 15, 20
    assert all(np.abs(one - other).max() > 30 for one, other in pairwise(film))


@pytest.mark.slow
def test_a_still_a_page_and_two_rules(tmp_path, capsys):
    asked = {"still.png": ["--axes", "--quality", "high"], "page.html": [], "two.gif": ["--beside", "zoo:jack"]}
    for name, more in asked.items():
        out = tmp_path / name
        assert cli.main(["render", "zoo:cross", "--out", str(out), *QUICK, *more]) == 0
        assert out.stat().st_size > 1000
    assert frames(tmp_path / "still.png")[0].shape == (96, 96, 3)
    assert "damage" not in capsys.readouterr().err


def test_without_options_a_film_is_beside_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["render", "zoo:cross", "--pixels", "96", "--every", "20"]) == 0
    assert (tmp_path / capsys.readouterr().out.strip()).parent.name == "runs"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--style", "smoke"], "style: found 'smoke', allowed voxels, surface, activity"),
        (["--quality", "best"], "allowed fast, high"),
        (["--pixels", "8"], "number: found 8, allowed 64 .. 4096"),
        (["--fps", "0"], "allowed 0.1 to 60"),
        (["--out", "film.avi"], "--out: path: found suffix '.avi', allowed .mp4, .gif, .webp, .png, .html"),
        (["--out", "no/film.gif"], "found missing folder no, allowed an existing folder"),
        (["--beside", "zoo:jack", "--out", "two.png"], "found suffix '.png', allowed .mp4, .gif, .webp"),
        (["--beside", "zoo:jak", "--out", "two.gif"], "did you mean 'jack'?"),
        (["--damage", "5:sphere:2"], "severity: found 2, allowed above 0 to 1"),
        (["--background", "no-colour", "--steps", "2", "--out", "a.gif"], "background: found 'no-colour'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["render", "zoo:cross", *argv]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_story_is_what_rollout_and_damage_say():
    rule = nca3d.load("zoo:frog")
    target = rule.target()
    script = [Cut(4, "sphere", 0.3), Cut(4, "half_space", 0.4, "-z"), Cut(0, "random_cells", 0.5)]
    story = tell(rule, target, 12, script, every=5)
    assert story.steps == [0, 0, 4, 4, 4, 5, 10, 12] and list(story.marks) == [1, 3, 4]
    alive = (story.frames[..., 3] > 0).sum(axis=(1, 2, 3))
    assert alive[2] > alive[3] > alive[4]
    there = story.frames[..., 3] > 0
    assert np.array_equal(story.labels > 0, there)
    assert np.allclose(story.frames[there][:, :3], np.asarray(target.palette, np.float32)[story.labels[there]])
    assert np.array_equal(tell(rule, target, 12, script, every=5).frames, story.frames)
    plain = tell(rule, target, 12, every=12)
    with torch.no_grad():
        from nca3d.evaluation.story import SEED
        from nca3d.fire import evaluation_seed

        state = nca3d.rollout(rule, nca3d.seed_state(rule, target.size), 12, random_seed=evaluation_seed(0, SEED))
    assert np.allclose(plain.frames[-1], nca3d.to_rgba(state, rule, target.palette)[0], atol=1e-5)


def test_two_cuts_at_one_step_and_large_suffixes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    life = ["--steps", "12", "--every", "6", "--damage", "6:sphere:0.3", "6:half_space:0.5:+x"]
    assert cli.main(["export", "zoo:cross", "two.NPZ", *life]) == 0
    times = np.load("two.NPZ")["steps"]
    assert (np.diff(times) > 0).all() and len(times) == 5
    assert cli.main(["render", "zoo:cross", "--out", "U.PNG", *QUICK]) == 0
    assert cli.main(["render", "zoo:cross", "--orbit", "1e300"]) == 2
    assert "allowed a finite number, 100 turns at most" in capsys.readouterr().err
    assert cli.main(["render", "zoo:cross", "--orbit", "nan"]) == 2
