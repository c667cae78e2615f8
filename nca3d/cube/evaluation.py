"""Does it answer, and does it think when hurt? `evaluate_cube(rule, taught)`: retrieval by split and kind, beside the best
straight line, damage, how cells differ, and which of them learn."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from nca3d.cube.answers import Judged, judge, say, top_answers
from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.approx import report as approx_report
from nca3d.cube.lesson import Lesson, Taught, evenly, taught_of_run
from nca3d.cube.losses import dialogue
from nca3d.cube.ridge import fit_ridge
from nca3d.cube.studies import hurt, lesions, specialisation
from nca3d.errors import InputError, nearest
from nca3d.evaluation.wounds import Wound
from nca3d.fire import evaluation_seed
from nca3d.reports.report import Report
from nca3d.reports.values import mean, wilson
from nca3d.rollout import rollout

# Questions whose answers are asked for a gradient.
LEARNERS = 8

# Questions that the report shows with what the cube said.
EXAMPLES = 8


@dataclass(frozen=True)
class CubePreset:
    """How much is asked.

    Args:
        splits: of questions, as far as the set has them.
        hurt_questions: asked of hurt cubes.
        lesions: what is done to them.
        approx: whether the approximate executor is measured.
    """

    splits: tuple[str, ...] = ("test", "compose")
    hurt_questions: int = 64
    lesions: tuple[Wound, ...] = lesions((0.05, 0.25, 0.5), ("half_space", "random_cells"))
    approx: bool = False


ALL_SPLITS = ("test", "compose", "validation", "train")
CUBE_PRESETS = {
    "quick": CubePreset(),
    "standard": CubePreset(ALL_SPLITS, 128, lesions((0.05, 0.25, 0.5)), approx=True),
    "full": CubePreset(ALL_SPLITS, 256, lesions((0.05, 0.1, 0.25, 0.5)), approx=True),
}


def evaluate_cube(
    rule: GMLPRule,
    taught: Taught | str | Path | None,
    preset: str | CubePreset = "quick",
    *,
    horizon: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Ask a cube, hurt it, ask again.

    Args:
        rule: the cube's.
        taught: questions, answers and their embeddings, by the teacher that the cube was trained with, or their run.
        preset: a name in `CUBE_PRESETS`, or a `CubePreset` of one's own.
        horizon: steps that it thinks; default the rule's card, else depth + 5.
        random_seed: chooses fire masks and wounds, never those of training.
        executor: see `rollout`.
        progress: whether to show a bar with the time left.

    Returns:
        `split.NAME.top1 | top5 | cosine` with the values of all questions behind them, the same of ridge regression on the same
        embeddings (`ridge.NAME…`: to surfaces or to the teacher's embeddings, whichever is better), `margin.NAME` (cube minus
        ridge, question by question), `hurt.DAMAGE.SEVERITY…` beside `hurt.unhurt` and `hurt.ridge` on the same questions,
        `cells_with_gradient`, `specialisation`; `approx.saved`, `approx.error` of the approximate executor.

    Raises:
        InputError: an unknown preset, a set without the splits that are asked, no set.
    """
    if isinstance(taught, str | Path):
        taught = taught_of_run(taught)
    if taught is None:
        raise InputError("evaluate", "target", "nothing", "what the cube was taught: questions, answers and their embeddings")
    named = isinstance(preset, str)
    if isinstance(preset, str):
        if preset not in CUBE_PRESETS:
            raise InputError("evaluate", "preset", repr(preset), ", ".join(CUBE_PRESETS) + nearest(preset, CUBE_PRESETS))
        preset = CUBE_PRESETS[preset]
    splits = [split for split in preset.splits if len(taught.of(split))]
    if named and not splits:  # a set of one's own may have none that was held out
        splits = [split for split in ALL_SPLITS if len(taught.of(split))][:1]
    if not splits:
        raise InputError(taught.questions.name, "split", ", ".join(taught.questions.splits), ", ".join(preset.splits))
    steps = horizon or rule.card.get("horizon") or rule.size[0] + 5
    wounded = splits[0]
    hurt_count = min(preset.hurt_questions, len(taught.of(wounded)))
    work = sum(len(taught.of(split)) for split in splits) + hurt_count * len(preset.lesions)
    with tqdm(total=work, disable=not progress, desc="evaluate", unit="question") as bar:
        found = _Findings(rule, taught, steps, random_seed, executor, bar)
        for split in splits:
            found.ask(split)
        found.hurt(wounded, hurt_count, preset.lesions)
        found.learners()
        if preset.approx:
            found.approximate()
    return found.finished()


class _Findings:
    """The studies, one method each, and the figures that they leave."""

    def __init__(self, rule: GMLPRule, taught: Taught, steps: int, random_seed: int, executor: str, bar: Any) -> None:
        self.rule, self.taught, self.steps, self.executor, self.bar = rule, taught, steps, executor, bar
        self.random_seed = random_seed
        self.device = next(rule.parameters()).device
        self.goals = rule.goal(taught.answers.to(self.device)).detach()
        self.asked, self.right = taught.asked.to(self.device), taught.right.to(self.device)
        train = taught.of("train")
        self.answers = taught.answers.to(self.device)
        # To the surfaces that the cube is to show, and to the teacher's embeddings of answers.
        lines = (self.goals, self.answers) if len(train) > 1 else ()
        self.straight = [(fit_ridge(self.asked[train], goals[self.right[train]]), goals) for goals in lines]
        self.report = Report(series={"retrieval": [], "hurt": [], "examples": []})
        self.series = self.report.series
        self.states: dict[str, Tensor] = {}

    def put(self, name: str, values: Tensor) -> None:
        """A figure under its dotted name, with the values of all questions."""
        self.report.put(name.split("."), values.float().tolist())

    def ask(self, split: str) -> None:
        """Every question of a split, and what the straight line says to it."""
        pairs = self.taught.of(split)
        seed = evaluation_seed(self.random_seed, 0)
        said, self.states[split] = say(self.rule, self.asked[pairs], self.steps, random_seed=seed, executor=self.executor)
        self.bar.update(len(pairs))
        cube = judge(said, self.goals, self.right[pairs])
        line = self._line(pairs)
        for group, judged in (("split", cube), ("ridge", line)):
            for name, values in (judged._asdict() if judged else {}).items():
                self.put(f"{group}.{split}.{name}", values)
        if line is not None:
            self.put(f"margin.{split}", cube.top1.float() - line.top1.float())
        self._rows(split, pairs, cube, line)
        if not self.series["examples"]:
            self._examples(pairs, said)
            self._specialisation(pairs, self.states[split])

    def _line(self, pairs: Tensor) -> Judged | None:
        """What ridge regression says to these questions: of two lines the one that is right more often."""
        found = [judge(line(self.asked[pairs]), goals, self.right[pairs]) for line, goals in self.straight]
        return max(found, key=lambda judged: judged.figures()["top1"], default=None)

    def _rows(self, split: str, pairs: Tensor, cube: Judged, line: Judged | None) -> None:
        kinds = [self.taught.questions.pairs[int(pair)].kind for pair in pairs]
        for kind in ["", *(sorted(set(kinds)) if len(set(kinds)) > 1 else [])]:
            these = [place for place, of in enumerate(kinds) if kind in ("", of)]
            row: dict[str, Any] = {"split": split, "kind": kind, "n": len(these)}
            for name, judged in (("cube", cube), ("ridge", line)):
                values = judged.top1[these].float().tolist() if judged else []
                low, high = wilson(values) or (None, None)
                row |= {name: mean(values), f"{name}_low": low, f"{name}_high": high}
            self.series["retrieval"].append(row)

    def _examples(self, pairs: Tensor, said: Tensor) -> None:
        places = np.linspace(0, len(pairs) - 1, min(EXAMPLES, len(pairs))).astype(int)
        shown = torch.where(said.isfinite().all(dim=1, keepdim=True), said, 0)[places]  # what is no number says nothing
        for place, replies in zip(places, top_answers(shown, self.goals, self.taught.questions.answers, 3), strict=True):
            pair = self.taught.questions.pairs[int(pairs[place])]
            inputs = [list(reply) for reply in replies]
            self.series["examples"].append({"question": pair.question, "right": pair.answer, "said": inputs})

    def _specialisation(self, pairs: Tensor, states: Tensor) -> None:
        kinds = [self.taught.questions.pairs[int(pair)].kind or "question" for pair in pairs]
        found = specialisation(states[:, : self.rule.features], kinds)
        if len(found.kinds) > 1:  # else there is nothing to mind more than others: no figure, and not 0
            self.report["specialisation"] = float(found.strength.mean())
        self.series["specialisation"] = {
            "strength": found.strength.tolist(),
            "preferred": found.preferred.tolist(),
            "kinds": found.kinds,
        }

    def hurt(self, split: str, count: int, asked: tuple[Wound, ...]) -> None:
        """Cells zeroed at the horizon; what is said at once, after as many steps again, and if they stay dead."""
        places = evenly(len(self.taught.of(split)), count)
        pairs, states = self.taught.of(split)[places], self.states[split][places]
        whole = judge(self.rule.answer(states), self.goals, self.right[pairs])
        for number, lesion in enumerate(asked):
            for state, said in hurt(
                self.rule,
                self.asked[pairs],
                states,
                lesion,
                self.steps,
                evaluation_seed(self.random_seed, 1 + number),
                self.executor,
            ).items():
                judged = judge(said, self.goals, self.right[pairs])
                name = f"hurt.{lesion.damage}.{round(100 * lesion.severity)}.{state}"
                self.put(f"{name}.top1", judged.top1)
                self.put(f"{name}.cosine", judged.cosine)
                row = {"damage": lesion.damage, "severity": lesion.severity, "state": state}
                self.series["hurt"].append({**row, **{k: v for k, v in judged.figures().items() if k != "top5"}})
            self.bar.update(count)
        line = self._line(pairs)
        for who, plain in (("unhurt", whole), ("ridge", line)):
            for measure in ("top1", "cosine") if plain else ():
                self.put(f"hurt.{who}.{measure}", getattr(plain, measure))
        self.series["unhurt"] = {**whole.figures(), "ridge_top1": line.figures()["top1"] if line else None}

    def learners(self) -> None:
        """The share of cells whose weights get gradient from the loss on the answer alone, when all of them fire."""
        pairs = self.taught.some("train", LEARNERS)
        if not len(pairs):
            return
        self.report["cells_with_gradient"] = cells_with_gradient(
            self.rule, self.asked[pairs], self.taught.answers.to(self.device), self.right[pairs], self.steps
        )

    def approximate(self) -> None:
        """What the approximate executor saves on these questions, and by how much it is off."""
        asked = self.asked[self.taught.some("train", LEARNERS)]
        inputs, state = self.rule.ask(asked), self.rule.rest(len(asked), self.device)
        seed = evaluation_seed(self.random_seed, 0)
        found = approx_report(self.rule, state, 4 * self.steps, inputs=inputs, random_seed=seed)
        self.report["approx"] = {"saved": found.saved, "error": found.error_max, "error_mean": found.error_mean}

    def finished(self) -> Report:
        """The figures, with what was asked."""
        self.report |= {
            "horizon": self.steps,
            "chance": 1 / len(self.goals),
            "answers": len(self.goals),
            "params": sum(p.numel() for p in self.rule.parameters()),
        }
        questions = self.taught.questions
        self.report.about |= {
            "questions": questions.name,
            "digest": questions.digest,
            "teacher": self.taught.teacher.id,
            "size": list(self.rule.size),
            "weights": self.rule.cells.mode,
            "random_seed": self.random_seed,
            "torch": torch.__version__,
        }
        return self.report


def cells_with_gradient(rule: GMLPRule, asked: Tensor, answers: Tensor, right: Tensor, steps: int) -> float:
    """The share of cells, 0 to 1; found with a copy of the rule."""
    rule = copy.deepcopy(rule).requires_grad_(True)
    rule.fire_rate = 1.0
    with torch.enable_grad():
        inputs = rule.ask(asked)
        states = rollout(rule, rule.rest(len(asked), asked.device), steps, inputs=inputs)
        dialogue(states[None], Lesson(asked, answers[right], right, answers), rule).sum().backward()
    return rule.cells.taught()


@torch.no_grad()
def activity(rule: GMLPRule, asked: Tensor, steps: int, random_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One question on its way through the cube.

    Args:
        rule: the cube's.
        asked: (1, E), the question's embedding.
        steps: how long to look.
        random_seed: chooses which cells fire.

    Returns:
        Root mean square of the features that each cell shows, at the front face with what it is told, (T, D, H, W), and the
        steps (T,).
    """
    inputs = rule.ask(asked)
    seen = rollout(rule, rule.rest(1, asked.device), steps, inputs=inputs, random_seed=random_seed, record_every=1)
    features = seen.states[:, 0, : rule.features].clone()
    if inputs.face is not None:
        features[:, :, 0] += inputs.face
    return features.square().mean(dim=1).sqrt().cpu().numpy(), seen.steps.numpy()


def figures_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The few figures that a card keeps."""
    names = ("split", "ridge", "margin", "chance", "answers", "cells_with_gradient", "specialisation", "params", "horizon")
    return {name: report[name] for name in names if name in report}
