"""A served cube says what the whole one says; in bfloat16 only where answers stay the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nca3d.cube.ask import Cube
from nca3d.cube.executor.asking import cone_of
from nca3d.cube.executor.native import unsupported
from nca3d.cube.export.folder import SurfaceCube
from nca3d.cube.quick import QuickCube, known_questions, quick
from nca3d.errors import InputError

QUESTIONS = ["what is left of the tree", "what is back of the stone"] * 40


@pytest.fixture
def cube(run: Path) -> Cube:
    found = Cube.of_run(run)
    assert isinstance(found, Cube)
    if unsupported(found.rule, found.rule.rest(1)):
        pytest.skip("nothing can be compiled here")
    return found


def test_it_says_what_the_whole_cube_says(cube: Cube) -> None:
    served, note = quick(cube)
    assert isinstance(served, QuickCube)
    assert served.cone is not None
    assert note == ""
    assert served.verdicts(QUESTIONS, best=3) == cube.verdicts(QUESTIONS, best=3)
    assert served.ask(QUESTIONS[:2], steps=9, random_seed=4) == cube.ask(QUESTIONS[:2], steps=9, random_seed=4)
    assert (served.about(), served.samples) == (cube.about(), cube.samples)


def test_bfloat16_takes_half_the_memory(cube: Cube) -> None:
    wanted, about = cube.ask(QUESTIONS, best=1), cube.about()
    served, note = quick(cube, "bf16")
    assert note == ""
    assert {weight.dtype for weight in cube.rule.cells.own.values()} == {torch.bfloat16}
    for found, right in zip(served.ask(QUESTIONS, best=1), wanted, strict=True):
        assert found[0].answer == right[0].answer
        assert found[0].score == pytest.approx(right[0].score, abs=0.02)
    assert served.about() == about
    with pytest.raises(InputError, match="in bfloat16"):
        served.ask(QUESTIONS, steps=9)


def test_where_answers_would_change_it_stays_in_float32(cube: Cube) -> None:
    # Two answers that the rounding decides between.
    asked = cube.teacher.embed(list(known_questions(cube)[:1]))
    half = cone_of(cube.rule, cube.rule.card["horizon"], narrow=True)
    assert half is not None
    output, goals = cube.say(asked)[0], cube.goals.clone()
    rounding = half.say(asked)[0] - output
    goals[0], goals[1] = output - 10 * rounding, output + 11 * rounding
    served, note = quick(replace(cube, goals=goals), "bf16")
    assert note.startswith("float32: found other answers to ")
    assert {weight.dtype for weight in cube.rule.cells.own.values()} == {torch.float32}
    assert isinstance(served, QuickCube)


def test_an_export_stays_as_it_is(exported: Path) -> None:
    cube = SurfaceCube.load(exported)
    assert quick(cube) == (cube, "")
    assert quick(cube, "bf16")[1].startswith("float32: found a cube that ONNX Runtime computes")
