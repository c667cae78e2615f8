"""Does a cube answer, and does it still answer when damaged? `evaluate_cube` measures it and returns a report.

It measures retrieval by split and kind of question, beside ridge regression, the best linear map; answers after damage; how
differently cells behave; and which of them learn.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from nca3d.cube.answers import Judgement, Reply, judge, say, top_answers
from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.approx import report as approx_report
from nca3d.cube.lesson import EmbeddedQuestions, Lesson, evenly, questions_of_run
from nca3d.cube.losses import dialogue
from nca3d.cube.ridge import fit_ridge
from nca3d.cube.studies import answers_after_damage, damage_grid, specialisation
from nca3d.cube.threshold import FEWEST, THRESHOLD, measure_threshold
from nca3d.cube.unrelated import UNRELATED
from nca3d.cube.weights import digest_of
from nca3d.errors import InputError, nearest
from nca3d.evaluation.wounds import Wound
from nca3d.fire import evaluation_seed
from nca3d.reports.report import Report
from nca3d.reports.values import mean, wilson
from nca3d.rollout import rollout

# How many questions the gradient of `cells_with_gradient` is computed from, and the approximate executor is measured on.
LEARNERS = 8

# How many questions the report shows with the cube's answers.
EXAMPLES = 8


@dataclass(frozen=True)
class CubePreset:
    """How thorough an evaluation is.

    Attributes:
        splits: The splits of questions to ask; those that the set lacks are left out.
        damage_questions: How many questions are asked of damaged cubes, at most.
        wounds: What is destroyed, each in a cube of its own.
        approx: Whether the approximate executor is measured.
    """

    splits: tuple[str, ...] = ("test", "compose")
    damage_questions: int = 64
    wounds: tuple[Wound, ...] = damage_grid((0.05, 0.25, 0.5), ("half_space", "random_cells"))
    approx: bool = False


# The held-out splits come first: the first one is asked again after damage.
ALL_SPLITS = ("test", "compose", "validation", "train")
CUBE_PRESETS = {
    "quick": CubePreset(),
    "standard": CubePreset(ALL_SPLITS, 128, damage_grid((0.05, 0.25, 0.5)), approx=True),
    "full": CubePreset(ALL_SPLITS, 256, damage_grid((0.05, 0.1, 0.25, 0.5)), approx=True),
}


def evaluate_cube(
    rule: GMLPRule,
    questions: EmbeddedQuestions | str | Path | None,
    preset: str | CubePreset = "quick",
    *,
    horizon: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Asks a cube, damages it, and asks again.

    Args:
        rule: The cube's rule.
        questions: The questions and answers, embedded by the teacher that the cube was trained with; or its run folder.
        preset: A name in `CUBE_PRESETS`, or a `CubePreset` of one's own.
        horizon: How many steps the cube computes; None = what the rule's card says, else depth + 5.
        random_seed: Chooses fire masks and wounds, never those of training.
        executor: See `nca3d.rollout`.
        progress: Whether to show a bar with the time left.

    Returns:
        A report with these figures, and with the values of all questions behind them:

        - `split.NAME.top1 | top5 | cosine`: how right the cube is on a split.
        - `ridge.NAME…`: the same of ridge regression on the same embeddings, to surfaces or to the teacher's embeddings,
          whichever is better.
        - `margin.NAME`: top1 of the cube minus that of ridge regression, question by question.
        - `hurt.DAMAGE.SEVERITY…`: after damage, beside `hurt.unhurt` and `hurt.ridge` on the same questions.
        - `threshold…`: below what the cube is not sure of an answer (`Threshold`), measured on split validation, or on another
          one that is held out; of sets with fewer than 20 held-out questions there is none.
        - `sure.NAME.share | top1`, `unsure.NAME.top1`: how often it is sure on a split, and how right it is if it is or isn't;
          `sure.unrelated.share`: how often on questions that have nothing to do with any set.
        - `cells_with_gradient`, `specialisation`: the share of cells that learn, and how much cells differ by kind, 0 to 1.
        - `approx.saved`, `approx.error`: of the approximate executor.

    Raises:
        InputError: There is no such preset, there are no questions, or the set has none of the preset's splits.
    """
    if isinstance(questions, str | Path):
        questions = questions_of_run(questions)
    if questions is None:
        allowed = "the questions that the cube was trained on (nca3d.cube.lesson.questions_of_run), or its run folder"
        raise InputError("evaluate", "target", "nothing", allowed)
    is_shipped = isinstance(preset, str)
    if isinstance(preset, str):
        if preset not in CUBE_PRESETS:
            raise InputError("evaluate", "preset", repr(preset), ", ".join(CUBE_PRESETS) + nearest(preset, CUBE_PRESETS))
        preset = CUBE_PRESETS[preset]
    splits = [split for split in preset.splits if len(questions.of(split))]
    # A user's own set may have no held-out questions; a preset of theirs names its splits, and is taken at its word.
    if is_shipped and not splits:
        splits = [split for split in ALL_SPLITS if len(questions.of(split))][:1]
    if not splits:
        raise InputError(questions.questions.name, "split", ", ".join(questions.questions.splits), ", ".join(preset.splits))
    steps = horizon or rule.card.get("horizon") or rule.size[0] + 5
    damage_count = min(preset.damage_questions, len(questions.of(splits[0])))
    held_out = _held_out(questions)
    work = sum(len(questions.of(split)) for split in {*splits, *held_out}) + damage_count * len(preset.wounds)
    with tqdm(total=work, disable=not progress, desc="evaluate", unit="question") as bar:
        studies = _Studies(rule, questions, steps, random_seed, executor, bar)
        for split in splits:
            studies.ask(split)
        for split in held_out:
            studies.limits(split)
        studies.damage(splits[0], damage_count, preset.wounds)
        studies.learners()
        if preset.approx:
            studies.approximate()
    return studies.finished()


def _held_out(questions: EmbeddedQuestions) -> list[str]:
    """Returns the split that the threshold is measured on, as a list of one; of none if all splits are too small.

    It is best one that the figures are not of: a threshold is always right about the questions that it was made from.
    """
    splits = [split for split in ("validation", "test", *questions.questions.splits) if split != "train"]
    return [split for split in splits if len(questions.of(split)) >= FEWEST][:1]


class _Studies:
    """The studies of one cube, one method each; each writes its figures and series into the report."""

    def __init__(
        self, rule: GMLPRule, embedded: EmbeddedQuestions, steps: int, random_seed: int, executor: str, bar: "tqdm[Any]"
    ) -> None:
        self.rule, self.embedded, self.steps, self.executor, self.bar = rule, embedded, steps, executor, bar
        self.random_seed = random_seed
        self.device = next(rule.parameters()).device
        self.answers = embedded.answer_embeddings.to(self.device)
        self.goals = rule.goal(self.answers).detach()
        self.questions, self.answer_index = embedded.question_embeddings.to(self.device), embedded.answer_index.to(self.device)
        train = embedded.of("train")
        # Two linear maps, to the surfaces that the cube is to show and to the teacher's embeddings of answers: the comparison
        # must not be won because one space suits a linear map badly.
        spaces = (self.goals, self.answers) if len(train) > 1 else ()
        self.ridges = [(fit_ridge(self.questions[train], goals[self.answer_index[train]]), goals) for goals in spaces]
        self.report = Report(series={"retrieval": [], "hurt": [], "examples": []})
        self.series = self.report.series
        self.states: dict[str, Tensor] = {}
        # By split the surfaces that the cube showed, (n, H·W).
        self.outputs: dict[str, Tensor] = {}

    def put(self, name: str, values: Tensor) -> None:
        """Adds a figure under its dotted name, with the values of all questions (N,) behind it."""
        self.report.put(name.split("."), values.float().tolist())

    def ask(self, split: str) -> None:
        """Asks the cube and ridge regression every question of a split."""
        pairs = self.embedded.of(split)
        self.outputs[split], self.states[split] = self._say(self.questions[pairs])
        self.bar.update(len(pairs))
        cube = judge(self.outputs[split], self.goals, self.answer_index[pairs])
        ridge = self._judge_ridge(pairs)
        for group, judgement in (("split", cube), ("ridge", ridge)):
            for name, values in (judgement._asdict() if judgement else {}).items():
                self.put(f"{group}.{split}.{name}", values)
        if ridge is not None:
            self.put(f"margin.{split}", cube.top1.float() - ridge.top1.float())
        self._rows(split, pairs, cube, ridge)
        # Of the first split alone: one table of examples and one map of the cells are enough.
        if not self.series["examples"]:
            self._examples(pairs, self.outputs[split])
            self._specialisation(pairs, self.states[split])

    def _say(self, questions: Tensor) -> tuple[Tensor, Tensor]:
        """Asks questions (N, E) with the fire masks of an undamaged cube, and returns surfaces and last states: see `say`."""
        seed = evaluation_seed(self.random_seed, 0)
        return say(self.rule, questions, self.steps, random_seed=seed, executor=self.executor)

    def _judge_ridge(self, pairs: Tensor) -> Judgement | None:
        """Judges ridge regression on these questions, int64 (n,); of the two maps, the one that is right more often."""
        judgements = [judge(ridge(self.questions[pairs]), goals, self.answer_index[pairs]) for ridge, goals in self.ridges]
        return max(judgements, key=lambda judgement: judgement.figures()["top1"], default=None)

    def limits(self, split: str) -> None:
        """Measures on a split when the cube is not sure, and what that does to each split that was asked."""
        if split not in self.outputs:
            pairs = self.embedded.of(split)
            self.outputs[split] = self._say(self.questions[pairs])[0]
            self.bar.update(len(pairs))
        nearest_two = {name: self._nearest(outputs) for name, outputs in self.outputs.items()}
        right = {name: judge(self.outputs[name], self.goals, self._right(name)).top1.tolist() for name in self.outputs}
        model = digest_of(self.rule)
        threshold = measure_threshold(nearest_two[split], right[split], split=split, steps=self.steps, model=model)
        if threshold is None:
            return
        self.report[THRESHOLD] = threshold.record()
        for name, rows in nearest_two.items():
            sure = [not threshold.doubt(row) for row in rows]
            self.report.put(["sure", name, "share"], [float(one) for one in sure])
            for group, wanted in (("sure", True), ("unsure", False)):
                values = [float(hit) for hit, one in zip(right[name], sure, strict=True) if one is wanted]
                self.report.put([group, name, "top1"], values)
        embeddings = self.embedded.teacher.embed(UNRELATED).to(self.device)
        doubts = [threshold.doubt(row) for row in self._nearest(self._say(embeddings)[0])]
        self.report.put(["sure", "unrelated", "share"], [float(not doubt) for doubt in doubts])
        for example in self.series["examples"]:
            example["doubt"] = threshold.doubt([Reply(*reply) for reply in example["said"]])

    def _right(self, split: str) -> Tensor:
        return self.answer_index[self.embedded.of(split)]

    def _nearest(self, outputs: Tensor) -> list[list[Reply]]:
        """Returns the two nearest answers to each output (N, H·W); one that is not finite counts as blank."""
        finite = torch.where(outputs.isfinite().all(dim=1, keepdim=True), outputs, 0)
        return top_answers(finite, self.goals, self.embedded.questions.answers, 2)

    def _rows(self, split: str, pairs: Tensor, cube: Judgement, ridge: Judgement | None) -> None:
        """Adds the table's rows of a split: one for all questions and, if there are several kinds, one for each kind."""
        kinds = [self.embedded.questions.pairs[int(pair)].kind for pair in pairs]
        for kind in ["", *(sorted(set(kinds)) if len(set(kinds)) > 1 else [])]:
            these = [place for place, of in enumerate(kinds) if kind in ("", of)]
            row: dict[str, Any] = {"split": split, "kind": kind, "n": len(these)}
            for name, judgement in (("cube", cube), ("ridge", ridge)):
                values = judgement.top1[these].float().tolist() if judgement else []
                low, high = wilson(values) or (None, None)
                row |= {name: mean(values), f"{name}_low": low, f"{name}_high": high}
            self.series["retrieval"].append(row)

    def _examples(self, pairs: Tensor, outputs: Tensor) -> None:
        places = np.linspace(0, len(pairs) - 1, min(EXAMPLES, len(pairs))).astype(int)
        # A cube that diverged is judged as wrong above, and shall not end the report here: its output counts as blank.
        finite = torch.where(outputs.isfinite().all(dim=1, keepdim=True), outputs, 0)[places]
        for place, replies in zip(places, top_answers(finite, self.goals, self.embedded.questions.answers, 3), strict=True):
            pair = self.embedded.questions.pairs[int(pairs[place])]
            best = [list(reply) for reply in replies]
            self.series["examples"].append({"question": pair.question, "right": pair.answer, "said": best})

    def _specialisation(self, pairs: Tensor, states: Tensor) -> None:
        kinds = [self.embedded.questions.pairs[int(pair)].kind or "question" for pair in pairs]
        result = specialisation(states[:, : self.rule.features], kinds)
        # With one kind there is nothing to specialise in: no figure, rather than a 0 that looks like a result.
        if len(result.kinds) > 1:
            self.report["specialisation"] = float(result.strength.mean())
        self.series["specialisation"] = {
            "strength": result.strength.tolist(),
            "preferred": result.preferred.tolist(),
            "kinds": result.kinds,
        }

    def damage(self, split: str, count: int, wounds: tuple[Wound, ...]) -> None:
        """Destroys cells at the horizon, and judges the answers at once, after healing, and with cells that stay dead."""
        places = evenly(len(self.embedded.of(split)), count)
        pairs, states = self.embedded.of(split)[places], self.states[split][places]
        whole = judge(self.rule.answer(states), self.goals, self.answer_index[pairs])
        for number, wound in enumerate(wounds):
            outputs = answers_after_damage(
                self.rule,
                self.questions[pairs],
                states,
                wound,
                self.steps,
                evaluation_seed(self.random_seed, 1 + number),  # 0 has the fire masks of the undamaged cube
                self.executor,
            )
            for state, output in outputs.items():
                judgement = judge(output, self.goals, self.answer_index[pairs])
                name = f"hurt.{wound.damage}.{round(100 * wound.severity)}.{state}"
                self.put(f"{name}.top1", judgement.top1)
                self.put(f"{name}.cosine", judgement.cosine)
                row = {"damage": wound.damage, "severity": wound.severity, "state": state}
                self.series["hurt"].append({**row, **{k: v for k, v in judgement.figures().items() if k != "top5"}})
            self.bar.update(count)
        # Both on the questions of the damaged cubes: figures of the whole split would be of other questions.
        ridge = self._judge_ridge(pairs)
        for name, judged in (("unhurt", whole), ("ridge", ridge)):
            for measure in ("top1", "cosine") if judged else ():
                self.put(f"hurt.{name}.{measure}", getattr(judged, measure))
        self.series["unhurt"] = {**whole.figures(), "ridge_top1": ridge.figures()["top1"] if ridge else None}

    def learners(self) -> None:
        """Measures the share of cells that get a gradient from the loss on the answer alone, when all of them fire."""
        pairs = self.embedded.some("train", LEARNERS)
        if not len(pairs):
            return
        self.report["cells_with_gradient"] = cells_with_gradient(
            self.rule, self.questions[pairs], self.answers, self.answer_index[pairs], self.steps
        )

    def approximate(self) -> None:
        """Measures how much work the approximate executor saves on some questions, and how large its error is."""
        questions = self.questions[self.embedded.some("train", LEARNERS)]
        inputs, state = self.rule.ask(questions), self.rule.rest(len(questions), self.device)
        seed = evaluation_seed(self.random_seed, 0)
        # Four horizons: it saves work only once cells have settled.
        result = approx_report(self.rule, state, 4 * self.steps, inputs=inputs, random_seed=seed)
        self.report["approx"] = {"saved": result.saved, "error": result.error_max, "error_mean": result.error_mean}

    def finished(self) -> Report:
        """Returns the report, with the cube, the questions and the seed that it is about."""
        self.report |= {
            "horizon": self.steps,
            "chance": 1 / len(self.goals),
            "answers": len(self.goals),
            "params": sum(p.numel() for p in self.rule.parameters()),
        }
        questions = self.embedded.questions
        self.report.about |= {
            "questions": questions.name,
            "digest": questions.digest,
            "teacher": self.embedded.teacher.id,
            "size": list(self.rule.size),
            "weights": self.rule.cells.mode,
            "random_seed": self.random_seed,
            "torch": torch.__version__,
        }
        return self.report


def cells_with_gradient(rule: GMLPRule, questions: Tensor, answers: Tensor, answer_index: Tensor, steps: int) -> float:
    """Returns the share of cells, 0 to 1, whose weights get a gradient from the loss `dialogue`.

    The rule is left as it is: the gradient is computed with a copy.

    Args:
        rule: The cube's rule.
        questions: The embeddings of the questions, (N, E).
        answers: The embeddings of all distinct answers, (A, E).
        answer_index: Which of them is each question's right one, int64 (N,).
        steps: How many steps the cube computes.
    """
    rule = copy.deepcopy(rule).requires_grad_(True)
    # All cells fire: a cell that rests by chance would look as if it could not learn.
    rule.fire_rate = 1.0
    with torch.enable_grad():
        states = rollout(rule, rule.rest(len(questions), questions.device), steps, inputs=rule.ask(questions))
        lesson = Lesson(questions, answers[answer_index], answer_index, answers)
        dialogue(states[None], lesson, rule).sum().backward()
    return rule.cells.share_with_gradient() or 0.0


@torch.no_grad()
def activity(rule: GMLPRule, question: Tensor, steps: int, random_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Records one question on its way through the cube.

    Args:
        rule: The cube's rule.
        question: The embedding of the question, (1, E).
        steps: How many steps to record.
        random_seed: Chooses which cells fire.

    Returns:
        The root mean square of each cell's features, at the front face with the question added, (T, D, H, W); and the number of
        the step of each record, (T,).
    """
    inputs = rule.ask(question)
    recording = rollout(rule, rule.rest(1, question.device), steps, inputs=inputs, random_seed=random_seed, record_every=1)
    features = recording.states[:, 0, : rule.features].clone()
    if inputs.face is not None:
        features[:, :, 0] += inputs.face
    return features.square().mean(dim=1).sqrt().cpu().numpy(), recording.steps.numpy()


def figures_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the few figures of a report that a rule's card holds."""
    names = ["split", "ridge", "margin", "threshold", "sure", "unsure", "chance", "answers"]
    names += ["cells_with_gradient", "specialisation", "params", "horizon"]
    return {name: report[name] for name in names if name in report}
