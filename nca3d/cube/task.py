"""The task of a cube: told a question's embedding at one face, to show the answer's at the other."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.cube.adapters.adapter import ALIKE
from nca3d.cube.answers import judge, say
from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson, Taught, keep_teacher
from nca3d.cube.questions import Questions, read_questions
from nca3d.cube.regime import CubeFields
from nca3d.cube.ridge import fit_ridge
from nca3d.cube.teacher.embeddings import embeddings_folder
from nca3d.cube.teacher.teachers import load_teacher
from nca3d.errors import InputError
from nca3d.fire import evaluation_seed, training_seed
from nca3d.losses import terms_of
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.build import build_rule

# Wrong answers that the right one is compared with, at most, besides those of the batch.
RIVALS = 1024

# Questions of the validation split that are asked now and then.
ASKED_NOW = 128


class Answering:
    """See `Task`; its rules are cubes, as `check_rule` sees to.

    Raises:
        InputError: questions or a teacher that can't be used, a loss term that does not fit.
    """

    headline, subject = "top1", ""
    pooled = True
    curriculum = 0.0  # before its signal has crossed, a cube has nothing to say
    ageing = 0
    fixed = dict.fromkeys(("questions_digest", "teacher"), "the questions and the teacher that the run began with")

    def __init__(self, config: Config, given: Questions | None = None) -> None:
        self.config, self.asked = config, CubeFields.of(config)
        self.weights = terms_of(config.losses, "signal")
        self.damaging = bool(config.damages and config.damage_count)
        questions = given or read_questions(self.asked.questions)
        train = questions.of("train")
        texts = [text for pair in train for text in (pair.question, pair.answer)]
        teacher = load_teacher(
            self.asked.teacher,
            layer=self.asked.teacher_layer,
            pool=self.asked.teacher_pool,
            fit_on=texts,
            width=self.asked.teacher_width,
        )
        self.taught = Taught.by(teacher, questions, embeddings_folder(), progress=True)
        self.train = self.taught.of("train")
        asked, right = self.taught.asked[self.train], self.taught.answers[self.taught.right[self.train]]
        for name, embedded in (("questions", asked), ("answers", right)):
            spread = (embedded - embedded.mean(dim=0)).square().mean()
            if spread <= ALIKE * embedded.square().mean():
                found = f"{questions.name}, whose {name} all look the same to teacher {teacher.id}"
                raise InputError("config", "questions", found, "a set of different ones, or another teacher")
        if config.batch > len(self.train):
            raise InputError("config", "batch", config.batch, f"at most the {len(self.train)} questions of split train")

    # The rule ---------------------------------------------------------------------------------------------------------

    def check_rule(self, rule: Rule) -> None:
        """Whether it is a cube."""
        if not isinstance(rule, GMLPRule):
            raise InputError("config", "rule", repr(self.config.rule), "gmlp, or a subclass of GMLPRule")

    def build_rule(self) -> GMLPRule:
        """A fresh cube with its adapters fitted; where it carries what it is told, its read-out begins as ridge regression."""
        rule = build_rule(self.config, size=self.config.size, embedding=self.taught.teacher.width)
        self.check_rule(rule)
        assert isinstance(rule, GMLPRule)
        if not self.config.init:
            self._begin(rule)
        for adapter in (rule.surface.asked, rule.surface.wanted):
            if adapter is not None and self.asked.adapters == "alone":
                adapter.requires_grad_(False)
        return rule

    def _begin(self, rule: GMLPRule) -> None:
        asked, answers = self.taught.asked[self.train], self.taught.answers[self.taught.right[self.train]]
        surface = rule.surface
        if surface.asked is None or surface.wanted is None:
            return
        for adapter, embeddings in ((surface.asked, asked), (surface.wanted, answers)):
            adapter.fit(embeddings, generator=torch.Generator().manual_seed(self.config.random_seed))
        if surface.mix is not None and surface.mix_bias is not None and rule.start == "carry":
            with torch.no_grad():
                straight = fit_ridge(surface.asked(asked), surface.wanted(answers))
                surface.mix.copy_(straight.weight)
                surface.mix_bias.copy_(straight.bias)

    def lr_multipliers(self, rule: GMLPRule) -> dict[nn.Parameter, float]:
        """Of the matrices over whole faces. Where they learn no faster than cells, each cell learns questions by heart: which
        directions matter is what carries over to questions that were never asked."""
        return dict.fromkeys(rule.surface.mixers(), self.asked.surface_learning_rate)

    def card(self) -> dict[str, Any]:
        """Enough to ask the cube and judge it."""
        config = self.config
        return {
            "size": list(config.size),
            "regime": config.regime,
            "questions": self.asked.questions,
            "questions_digest": self.taught.questions.digest,
            "teacher": self.taught.teacher.id,
            "horizon": config.horizon,
            "figures": {},
        }

    def seed(self, rule: GMLPRule) -> Tensor:
        """A cube at rest."""
        return rule.rest(1)

    def pool_loss(self, rule: Rule, states: Tensor) -> Tensor:
        """How much is left in a cube of what it was told before: the fullest goes back to rest."""
        return states.square().flatten(1).mean(dim=1)

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """Every cell."""
        return torch.ones_like(states[:, 0], dtype=torch.bool)

    # One iteration ----------------------------------------------------------------------------------------------------

    def draw(self, iteration: int) -> Lesson:
        """Questions in a new order each epoch, every one once; the rivals of their answers."""
        config, taught, count = self.config, self.taught, len(self.train)
        first = (iteration - 1) * config.batch
        picked = [self._order(place // count)[place % count] for place in range(first, first + config.batch)]
        pairs = self.train[torch.tensor(picked)]
        others = self.taught.right[self.train].unique()
        if len(others) > RIVALS:
            generator = torch.Generator().manual_seed(training_seed(config.random_seed ^ 1, iteration))
            others = others[torch.randperm(len(others), generator=generator)[:RIVALS]]
        rivals, place = torch.cat([taught.right[pairs], others]).unique(return_inverse=True)
        right = place[: len(pairs)]
        device, asked = self.device, taught.asked[pairs]
        if self.asked.question_noise:
            generator = torch.Generator().manual_seed(training_seed(config.random_seed ^ 2, iteration))
            noise = torch.randn(asked.shape, generator=generator) * taught.asked[self.train].std(dim=0)
            asked = asked + self.asked.question_noise * noise
        return Lesson(asked, taught.answers[taught.right[pairs]], right, taught.answers[rivals]).to(device)

    def _order(self, epoch: int) -> list[int]:
        if epoch != self._ordered[0]:
            generator = torch.Generator().manual_seed(training_seed(self.config.random_seed, epoch))
            self._ordered = epoch, torch.randperm(len(self.train), generator=generator).tolist()
        return self._ordered[1]

    _ordered: tuple[int, list[int]] = (-1, [])
    device = torch.device("cpu")

    def part(self, wanted: Lesson, ids: Tensor) -> Lesson:
        """These questions, with the rivals of all."""
        return wanted.part(ids.to(wanted.right.device))

    def inputs(self, rule: GMLPRule, wanted: Lesson) -> Inputs:
        """The questions, held at the front face."""
        return rule.ask(wanted.asked)

    @torch.no_grad()
    def figures(self, rule: GMLPRule, states: Tensor, wanted: Lesson) -> dict[str, float]:
        """Cosine and retrieval among the rivals."""
        return judge(rule.answer(states), rule.goal(wanted.rivals), wanted.right).figures()

    def pattern(self, rule: GMLPRule, states: Tensor) -> dict[str, list[float]]:
        """Questions of the validation split, and how many cells the last gradient reached."""
        found = {"cells_with_gradient": [rule.cells.taught()]}
        pairs = self.taught.some("validation", ASKED_NOW)
        if len(pairs):
            seed = evaluation_seed(self.config.random_seed, 0)
            said, _ = say(rule, self.taught.asked[pairs].to(self.device), self.config.horizon, random_seed=seed)
            judged = judge(said, rule.goal(self.taught.answers.to(self.device)), self.taught.right[pairs].to(self.device))
            found |= {f"validation_{name}": values.tolist() for name, values in judged._asdict().items()}
        return found

    # Beside the loop --------------------------------------------------------------------------------------------------

    def note(self, rule: GMLPRule) -> str:
        """How many weights there are, what they take, and what is asked."""
        config, questions = self.config, self.taught.questions
        weights = sum(p.numel() for p in rule.parameters())
        trained = sum(p.numel() for p in rule.parameters() if p.requires_grad)
        moments = 2 * trained if config.optimizer == "adamw8bit" else 8 * trained
        average = 4 * weights * bool(config.average)
        states = 4 * math.prod(rule.size) * rule.channels * (config.batch // config.accumulate) * (config.horizon + 2)
        parts = {"weights": 4 * weights, "gradients": 4 * trained, "optimizer": moments, "average": average, "states": states}
        memory = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items() if size)
        splits = ", ".join(f"{len(questions.of(split)):,} {split}" for split in questions.splits)
        return (
            f"cube: {math.prod(rule.size):,} cells, {rule.weights_a_cell():,} weights a cell ({rule.cells.mode}), "
            f"{weights:,} in all, {trained:,} trained\n"
            f"memory in MiB: {memory}; in all about {sum(parts.values()) / 2**20:,.0f}\n"
            f"asked: {questions.name}: {splits}; {len(questions.answers):,} answers; teacher {self.taught.teacher.id}"
        )

    def keep(self, folder: Path) -> dict[str, Any]:
        """The teacher and the answers: what it takes to ask the cube without its training."""
        keep_teacher(folder, self.taught.teacher, self.taught.questions.answers)
        return {}
