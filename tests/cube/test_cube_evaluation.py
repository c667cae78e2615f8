"""A cube is asked, hurt and taken apart: figures that must be right, on cubes whose answers are known."""

import json
import timeit
from functools import partial

import pytest
import torch

import nca3d
from nca3d.cube.answers import judge, say
from nca3d.cube.evaluation import CubePreset, activity, cells_with_gradient, evaluate_cube
from nca3d.cube.finish import batch_curve
from nca3d.cube.lesson import EmbeddedQuestions, evenly
from nca3d.cube.questions import read_questions
from nca3d.cube.ridge import fit_ridge
from nca3d.cube.studies import answers_after_damage, damage_grid, specialisation
from nca3d.cube.weights import digest_of
from nca3d.errors import InputError
from nca3d.evaluation import Wound
from nca3d.rollout import rollout

# They share the evaluation of a trained cube.
pytestmark = pytest.mark.slow

SIZE = (3, 4, 4)
CELL = {"features": 8, "memory": 4, "external": 2, "widened": 8, "preset": "cube", "start": "carry"}


class Looked:
    """A teacher whose embeddings are written down: the answer's is the question's, turned."""

    id, width = "looked-up", 16

    def embed(self, texts, progress=False):
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(int(text.split()[-1]) + 7)) for text in texts]
        return torch.stack(rows)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> EmbeddedQuestions:
    """Forty questions whose answers have the same embeddings: a cube that carries what it is told is always right."""
    splits = ["train"] * 20 + ["test"] * 12 + ["compose"] * 8
    lines = [
        {"question": f"what is {n}", "answer": f"it is {n}", "split": split, "kind": "odd" if n % 2 else "even"}
        for n, split in enumerate(splits)
    ]
    path = tmp_path_factory.mktemp("asked") / "numbers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return EmbeddedQuestions.of_teacher(Looked(), read_questions(path))


def carrying(**options) -> nca3d.GMLPRule:
    made = nca3d.GMLPRule(SIZE, generator=torch.Generator().manual_seed(0), **{**CELL, **options})
    with torch.no_grad():  # nothing of its own: what is told arrives unharmed
        for name in ("last", "last_bias"):
            made.cells.own[name].zero_()
    return made


def test_a_cube_that_carries_the_answer_is_always_right(embedded):
    report = evaluate_cube(carrying(), embedded, CubePreset(wounds=damage_grid((0.25,), ("random_cells",))), horizon=6)
    assert report["split.test.top1"] == report["split.compose.top1"] == 1.0
    assert report["split.test.cosine"] == pytest.approx(1.0, abs=1e-5)
    assert report["split"]["test"]["top5"] == 1.0 and len(report.spread["split.test.top1"]) == 12
    assert "threshold" not in report, "12 and 8 questions are too few"
    assert report["chance"] == 1 / 40 and report["horizon"] == 6
    assert report["margin.test"] == pytest.approx(1.0 - report["ridge.test.top1"])
    assert report["hurt.random_cells.25.healed.top1"] == 1.0 > report["hurt.random_cells.25.hurt.top1"]
    assert report["hurt.random_cells.25.dead.top1"] < 1.0
    rows = {(row["split"], row["kind"]): row["n"] for row in report.series["retrieval"]}
    assert rows == {
        ("test", ""): 12,
        ("test", "even"): 6,
        ("test", "odd"): 6,
        ("compose", ""): 8,
        ("compose", "even"): 4,
        ("compose", "odd"): 4,
    }
    one = report.series["retrieval"][0]
    assert one["cube_low"] == pytest.approx(0.7575, abs=1e-4) and one["cube_high"] == 1.0, "12 of 12 are no certainty"
    assert report.intervals["split.test.top1"] == [one["cube_low"], one["cube_high"]]
    json.loads(report.to_json())
    assert nca3d.evaluate(carrying(), embedded, horizon=6)["split.test.top1"] == 1.0
    with pytest.raises(InputError, match="target: found nothing, allowed the questions that the cube was trained on"):
        nca3d.evaluate(carrying())


def test_a_threshold_is_measured_on_questions_that_the_figures_are_not_of(tmp_path):
    """Every other validation question has a wrong answer, which lies between two: the cube is not sure of those alone."""

    class Between(Looked):
        def embed(self, texts, progress=False):
            rows = dict(zip(texts, super().embed([text if text[-1].isdigit() else "99" for text in texts]), strict=True))
            for n in range(1, 24, 2):
                asked, other = f"what is {20 + n}", super().embed([f"it is {n}", f"it is {19 + n}"])
                if asked in rows:
                    rows[asked] = other.sum(dim=0)
            return torch.stack([rows[text] for text in texts])

    splits = ["train"] * 20 + ["validation"] * 24 + ["test"] * 4
    lines = [{"question": f"what is {n}", "answer": f"it is {n}", "split": split} for n, split in enumerate(splits)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = EmbeddedQuestions.of_teacher(Between(), read_questions(tmp_path / "own.jsonl"))
    made = carrying()
    report = evaluate_cube(made, own, CubePreset(wounds=()), horizon=6)
    found = report["threshold"]
    assert (found["split"], found["questions"], found["steps"], found["model"]) == ("validation", 24, 6, digest_of(made))
    assert report["sure.validation.share"] == 0.5
    assert (report["sure.validation.top1"], report["unsure.validation.top1"]) == (1.0, 0.0)
    assert (report["sure.test.share"], report["unsure.test.top1"]) == (1.0, None)
    assert report["sure.unrelated.share"] == 0.0, "whatever has no number in it is far from all answers"
    assert [example["doubt"] for example in report.series["examples"]] == [""] * 4
    assert "split" in report and "validation" not in report["split"], "the preset did not ask for its figures"


def test_a_cube_that_says_the_same_to_everyone_is_at_chance(embedded):
    silent = carrying()
    with torch.no_grad():
        silent.surface.out.zero_()
        silent.surface.out_bias.fill_(1.0)
    report = evaluate_cube(silent, embedded, CubePreset(wounds=()), horizon=6)
    assert report["split.test.top1"] <= 1 / 12 and report["split.test.top5"] <= 5 / 12
    said = torch.zeros(4, 3)
    goals = torch.eye(3)
    assert not judge(said, goals, torch.tensor([0, 1, 2, 0])).top1.any(), "ties are no right answers"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_is_never_right(bad):
    found = judge(torch.full((5, 16), bad), torch.randn(5, 16), torch.arange(5))
    assert not found.top1.any() and (found.cosine == -1).all()


def test_a_set_without_held_out_questions_is_judged_by_what_it_has(embedded, tmp_path):
    lines = [{"question": f"what is {n}", "answer": f"it is {n}", "split": "train"} for n in range(6)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = EmbeddedQuestions.of_teacher(Looked(), read_questions(tmp_path / "all.jsonl"))
    report = evaluate_cube(carrying(), own, horizon=6)
    assert report["split"].keys() == {"train"}
    assert "specialisation" not in report, "questions without kinds have none that a cell could mind"


def test_the_hurt_are_asked_questions_of_every_kind(embedded):
    """Sets stand in order of their kinds, splits too."""
    assert evenly(12, 4).tolist() == [0, 4, 7, 11] and evenly(3, 9).tolist() == [0, 1, 2] and evenly(0, 4).tolist() == []
    report = evaluate_cube(carrying(), embedded, CubePreset(damage_questions=4, wounds=()), horizon=6)
    pairs = embedded.of("test")[evenly(12, 4)]
    line = judge(
        fit_ridge(embedded.question_embeddings[:20], embedded.answer_embeddings[:20])(embedded.question_embeddings[pairs]),
        embedded.answer_embeddings,
        embedded.answer_index[pairs],
    )
    assert report.spread["hurt.unhurt.top1"] == [1.0] * 4
    assert report["hurt.ridge.top1"] >= float(line.top1.float().mean())


def test_figures_are_the_same_whoever_is_asked_beside(embedded):
    """Law 6, and the draws of an evaluation follow from its random_seed."""
    made = carrying(fire_rate=0.6)
    asked = embedded.question_embeddings[:10]
    together, _ = say(made, asked, 8, random_seed=2**31 + 1)
    again, _ = say(made, asked[:3], 8, random_seed=2**31 + 1)
    torch.testing.assert_close(together[:3], again)
    other, _ = say(made, asked, 4, random_seed=2**31 + 2)
    assert not torch.equal(other, say(made, asked, 4, random_seed=2**31 + 1)[0])


def test_a_wound_is_healed_by_what_is_still_told_and_a_lesion_stays(embedded):
    made = carrying()
    asked = embedded.question_embeddings[:6]
    whole, states = say(made, asked, 6)
    said = answers_after_damage(made, asked, states, Wound("half_space", 0.5), 6, 2**31)
    assert {name: tuple(surface.shape) for name, surface in said.items()} == dict.fromkeys(("hurt", "healed", "dead"), (6, 16))
    torch.testing.assert_close(said["healed"], whole)
    assert (said["hurt"] - whole).abs().max() > 0.1 and (said["dead"] - whole).abs().max() > 0.1


def test_every_cell_gets_gradient_from_the_answer_alone(embedded):
    made = nca3d.GMLPRule(SIZE, **{**CELL, "fire_rate": 0.3})
    made.requires_grad_(False)
    share = cells_with_gradient(
        made, embedded.question_embeddings[:4], embedded.answer_embeddings, embedded.answer_index[:4], 8
    )
    assert share == 1.0
    assert made.fire_rate == 0.3 and not any(p.requires_grad or p.grad is not None for p in made.parameters())
    assert (
        cells_with_gradient(made, embedded.question_embeddings[:4], embedded.answer_embeddings, embedded.answer_index[:4], 2)
        < 1.0
    ), "in two steps none from far"


def test_specialisation_knows_cells_with_a_known_answer():
    kinds = ["a", "b"] * 50
    is_b = torch.tensor([kind == "b" for kind in kinds]).float()
    features = torch.zeros(100, 2, 1, 1, 4)
    generator = torch.Generator().manual_seed(0)
    features[:, 0, 0, 0, 0] = is_b  # follows from the kind alone
    features[:, 0, 0, 0, 1] = torch.randn(100, generator=generator)  # has nothing to do with it
    features[:, 0, 0, 0, 2] = is_b + torch.randn(100, generator=generator) * 0.5  # half and half: η² = ¼ / (¼ + ¼)
    found = specialisation(features, kinds)
    strength = found.strength[0, 0]
    assert strength[0] == pytest.approx(1.0) and strength[1] < 0.1 and strength[3] == 0.0
    assert strength[2] == pytest.approx(0.5, abs=0.12)
    assert found.kinds == ["a", "b"] and found.preferred.shape == (1, 1, 4)
    with pytest.raises(ValueError, match="kinds: found 99, allowed 100"):
        specialisation(features, kinds[:99])
    alone = specialisation(features, ["a"] * 100)
    assert not alone.strength.any(), "one kind explains nothing, and rounding is not taken for something"


@pytest.mark.slow
def test_the_memory_of_a_step_does_not_depend_on_what_ran_before():
    made = nca3d.GMLPRule((4, 6, 6), preset="cube").requires_grad_(False)
    up, down = batch_curve(made, (1, 32, 128)), batch_curve(made, (128, 32, 1))[::-1]
    found = [[row["memory_mib"] for row in rows] for rows in (up, down)]
    weights = sum(p.numel() for p in made.parameters()) * 4 / 2**20  # a gradient for each of them, at any batch size
    assert all(weights <= one < many < most for one, many, most in found), found
    assert found[0] == pytest.approx(found[1], rel=0.25, abs=4)
    assert all(row["samples_a_second"] > 0 for row in up)
    assert not any(p.requires_grad or p.grad is not None for p in made.parameters())


@pytest.mark.slow
def test_the_first_batch_size_does_not_pay_for_the_start(monkeypatch):
    """By a clock that only this step moves: 100 seconds when it is the first of its process, 4 later on."""
    steps, clock = [], [0.0]

    def slow_at_first(rule, state, count):
        clock[0] += 4.0 if steps else 100.0
        steps.append(len(state))
        return rollout(rule, state, count)

    monkeypatch.setattr("nca3d.cube.finish.rollout", slow_at_first)
    monkeypatch.setattr("nca3d.cube.finish.timeit.repeat", partial(timeit.repeat, timer=lambda: clock[0]))
    (row,) = batch_curve(carrying(), (1,))
    assert row["samples_a_second"] == 0.25 and len(steps) > 2


def test_activity_shows_the_signal_on_its_way(embedded):
    seen, steps = activity(carrying(), embedded.question_embeddings[:1], 5)
    assert seen.shape == (6, *SIZE) and steps.tolist() == [0, 1, 2, 3, 4, 5]
    lit = (seen > 1e-3).any(axis=(2, 3))
    assert lit[:, 0].all(), "the question is held at the front face"
    assert lit[:, 1].tolist() == [False, True, True, True, True, True]
    assert lit[:, 2].tolist() == [False, False, True, True, True, True]


def test_bad_input_is_one_line(embedded):
    with pytest.raises(InputError, match=r"preset: found 'quik', allowed quick, standard, full.*quick"):
        evaluate_cube(carrying(), embedded, "quik")
    with pytest.raises(InputError, match=r"split: found .*, allowed elsewhere"):
        evaluate_cube(carrying(), embedded, CubePreset(splits=("elsewhere",)))
