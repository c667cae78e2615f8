"""The task of a cube: it gets a question's embedding at one face, and shall show the answer's at the opposite one."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.cube.adapters.adapter import ALIKE
from nca3d.cube.answers import judge, say
from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.learning import CellsInBackward, check
from nca3d.cube.executor.native import unsupported
from nca3d.cube.lesson import EmbeddedQuestions, Lesson, kept_teacher, save_teacher
from nca3d.cube.questions import Questions, QuestionsOfRun, read_questions
from nca3d.cube.regime import CubeFields
from nca3d.cube.ridge import fit_ridge
from nca3d.cube.teacher.embeddings import embeddings_folder
from nca3d.cube.teacher.teachers import load_teacher
from nca3d.errors import InputError
from nca3d.fire import evaluation_seed, training_seed
from nca3d.losses import evaluate_terms, terms_of
from nca3d.ranks import current, expected
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.build import build_rule
from nca3d.training.recovery import BAD_AT_END
from nca3d.training.task import InBackward

# How many wrong answers the right one is compared with, at most, besides the answers of the batch.
DISTRACTORS = 1024

# How many questions of the validation split are asked now and then during training.
VALIDATION_QUESTIONS = 128


class Answering:
    """Trains cubes to answer questions; see `nca3d.training.task.Task` for the methods and attributes.

    Args:
        config: The experiment, of regime answering.
        given: The questions, if the caller has read them already; of a run that goes on, with the folder of its teacher; None =
            read what the config names.

    Attributes:
        fields: The table `[cube]` of the config.
        embedded: The questions and answers with their embeddings.
        train: The numbers of the pairs of split train, int64 (n,).

    Raises:
        InputError: Questions or a teacher can't be used, or a loss term does not fit.
    """

    headline, subject = "top1", ""
    pooled = True
    curriculum = 0.0  # no short rollouts first: before its signal has crossed, a cube has nothing to show
    ageing = 0
    fixed = dict.fromkeys(("questions_digest", "teacher"), "the questions and the teacher that the run began with")

    def __init__(self, config: Config, given: Questions | QuestionsOfRun | None = None) -> None:
        self.config, self.fields = config, CubeFields.of(config)
        self.weights = terms_of(config.losses, "signal")
        self.damaging = bool(config.damages and config.damage_count)
        run = given.folder if isinstance(given, QuestionsOfRun) else None
        questions = given.questions if isinstance(given, QuestionsOfRun) else given or read_questions(self.fields.questions)
        # TF-IDF learns its words from the training split alone: held-out questions must not shape the embeddings.
        train = questions.of("train")
        # Before minutes of embedding.
        if config.batch > len(train):
            raise InputError("config", "batch", config.batch, f"at most the {len(train)} questions of split train")
        texts = [text for pair in train for text in (pair.question, pair.answer)]
        # Fitted again on another processor it would differ by rounding, and be another teacher.
        kept = kept_teacher(run) if run and self.fields.teacher == "tfidf" else None
        teacher = kept or load_teacher(
            self.fields.teacher,
            layer=self.fields.teacher_layer,
            pool=self.fields.teacher_pool,
            fit_on=texts,
            width=self.fields.teacher_width,
        )
        self.embedded = EmbeddedQuestions.of_teacher(teacher, questions, embeddings_folder(), progress=True)
        self.train = self.embedded.of("train")
        for name, embeddings in zip(("questions", "answers"), self._training_embeddings(), strict=True):
            spread = (embeddings - embeddings.mean(dim=0)).square().mean()
            if spread <= ALIKE * embeddings.square().mean():
                found = f"{questions.name}, whose {name} all look the same to teacher {teacher.id}"
                raise InputError("config", "questions", found, "a set of different ones, or another teacher")
        self.epoch = len(self.train) / config.batch

    def _training_embeddings(self) -> tuple[Tensor, Tensor]:
        """Returns the embeddings of the training questions and of their answers, (n, E) each."""
        embedded = self.embedded
        return embedded.question_embeddings[self.train], embedded.answer_embeddings[embedded.answer_index[self.train]]

    # The rule ---------------------------------------------------------------------------------------------------------

    def check_rule(self, rule: Rule) -> None:
        """Refuses a rule that is not a cube.

        Raises:
            InputError: The rule is not a `GMLPRule`.
        """
        if not isinstance(rule, GMLPRule):
            raise InputError("config", "rule", repr(self.config.rule), "gmlp, or a subclass of GMLPRule")

    def build_rule(self) -> GMLPRule:
        """Returns a fresh cube with fitted adapters.

        A cube that passes its input through unchanged (`start="carry"`) begins with a read-out by ridge regression.
        """
        # Weights that a run begins with come whole; the trainer keeps a rank's share of them.
        ranks = current() if current().splits == "lattice" and not self.config.init else None
        rule = build_rule(self.config, size=self.config.lattice, embedding=self.embedded.teacher.width, ranks=ranks)
        self.check_rule(rule)
        assert isinstance(rule, GMLPRule)
        if self.config.block_cells != "auto":
            root = math.ceil(math.prod(rule.size) ** 0.5)
            rule.cells.at_once = root if self.config.block_cells == "sqrt" else int(self.config.block_cells)
        if not self.config.init:
            self._fit(rule)
        for adapter in (rule.surface.asked, rule.surface.wanted):
            if adapter is not None and self.fields.adapters == "alone":
                adapter.requires_grad_(False)
        return rule

    def _fit(self, rule: GMLPRule) -> None:
        """Fits the adapters to the training set, and a pass-through cube's read-out to the answers."""
        questions, answers = self._training_embeddings()
        surface = rule.surface
        if surface.asked is None or surface.wanted is None:
            return
        for adapter, embeddings in ((surface.asked, questions), (surface.wanted, answers)):
            adapter.fit(embeddings, generator=torch.Generator().manual_seed(self.config.random_seed))
        if surface.mix is not None and surface.mix_bias is not None and rule.start == "carry":
            # The question arrives at the back face unchanged, so a linear read-out can already give the best linear answer:
            # training begins at ridge regression, and only has to learn what no linear map can do.
            with torch.no_grad():
                ridge = fit_ridge(surface.asked(questions), surface.wanted(answers))
                surface.mix.copy_(ridge.weight)
                surface.mix_bias.copy_(ridge.bias)

    def lr_multipliers(self, rule: GMLPRule) -> dict[nn.Parameter, float]:
        """Returns a higher learning rate for the matrices over whole faces.

        Where they learn no faster than cells, each cell learns questions by heart. Which directions of the embeddings matter is
        what generalises to questions that were never asked.
        """
        return dict.fromkeys(rule.surface.mixers(), self.fields.surface_learning_rate)

    def in_full(self, rule: GMLPRule) -> list[nn.Parameter]:
        """Returns the vectors of each cell and its smallest matrices.

        8 bits share one scale among 256 numbers that follow one another: here they would be those of several cells, and a cell
        with small gradients beside one with large ones would lose its own.
        """
        return rule.cells.small()

    def in_backward(self, rule: GMLPRule, optimizer: torch.optim.Optimizer) -> InBackward:
        """Returns what moves each cell's weights as soon as their gradient is known.

        Raises:
            InputError: Compiled code can't run the rule on this machine, its weights are shared or frozen, or several processes
                share samples out, so that they would have to add up gradients before any weight moves.
        """
        if expected() > 1 and rule.cells.share is None:
            found, allowed = f"true in {expected()} processes", "false, one process, or processes that share cells out"
            raise InputError("config", "optimizer_in_backward", found, allowed)
        if why := unsupported(rule, rule.rest(1)) or check(rule):
            raise InputError("config", "optimizer_in_backward", f"true for a rule that {why}", "false")
        return CellsInBackward(rule, optimizer)

    def card(self) -> dict[str, Any]:
        """Returns what it takes to ask the trained cube and to judge it."""
        config = self.config
        return {
            "size": list(config.lattice),
            "regime": config.regime,
            "questions": self.fields.questions,
            "questions_digest": self.embedded.questions.digest,
            "teacher": self.embedded.teacher.id,
            "horizon": config.horizon,
            "figures": {},
        }

    def seed(self, rule: GMLPRule) -> Tensor:
        """Returns a cube at rest, (1, C, D, H, W)."""
        return rule.rest(1)

    def pool_loss(self, rule: Rule, states: Tensor, label: int) -> Tensor:
        """Returns the mean square of each pooled state (B, C, D, H, W), (B,): the most active cube goes back to rest.

        A pooled cube still holds its earlier question; how right it was on that says nothing about the next one.
        """
        return states.square().flatten(1).mean(dim=1)

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """Returns every cell of states (B, C, D, H, W), bool (B, D, H, W), since no cell of a cube is dead."""
        return torch.ones_like(states[:, 0], dtype=torch.bool)

    # One iteration ----------------------------------------------------------------------------------------------------

    def draw(self, iteration: int, labels: Tensor | None = None) -> Lesson:
        """Returns the questions of an iteration, and the candidates for their answers.

        Each epoch goes through all training questions once, in a new order. The order depends on the seed and the iteration
        alone, so that a resumed run draws the same.
        """
        config, embedded, count = self.config, self.embedded, len(self.train)
        first = (iteration - 1) * config.batch
        picked = [self._order(place // count)[place % count] for place in range(first, first + config.batch)]
        pairs = self.train[torch.tensor(picked)]
        others = embedded.answer_index[self.train].unique()
        # Seeds of their own for distractors and noise (^ 1, ^ 2): else they would repeat the numbers of the fire masks.
        if len(others) > DISTRACTORS:
            generator = torch.Generator().manual_seed(training_seed(config.random_seed ^ 1, iteration))
            others = others[torch.randperm(len(others), generator=generator)[:DISTRACTORS]]
        candidates, place = torch.cat([embedded.answer_index[pairs], others]).unique(return_inverse=True)
        questions = embedded.question_embeddings[pairs]
        if self.fields.question_noise:
            generator = torch.Generator().manual_seed(training_seed(config.random_seed ^ 2, iteration))
            noise = torch.randn(questions.shape, generator=generator) * embedded.question_embeddings[self.train].std(dim=0)
            questions = questions + self.fields.question_noise * noise
        answers = embedded.answer_embeddings
        lesson = Lesson(questions, answers[embedded.answer_index[pairs]], place[: len(pairs)], answers[candidates])
        return lesson.to(self.device)

    def _order(self, epoch: int) -> list[int]:
        if epoch != self._ordered[0]:
            generator = torch.Generator().manual_seed(training_seed(self.config.random_seed, epoch))
            self._ordered = epoch, torch.randperm(len(self.train), generator=generator).tolist()
        return self._ordered[1]

    # The last epoch with its order, which is too slow to draw anew in every iteration.
    _ordered: tuple[int, list[int]] = (-1, [])
    device = torch.device("cpu")

    def condition(self, goal: Lesson) -> None:
        """Returns None: what a cube is to answer are its inputs."""

    def terms(self, moments: Tensor, goal: Lesson, rule: Rule) -> dict[str, Tensor]:
        """Returns the weighted loss terms of recorded states (T, B, C, D, H, W), by name, (B,) each."""
        return evaluate_terms(self.weights, moments, goal, rule)

    def subset(self, goal: Lesson, ids: Tensor) -> Lesson:
        """Returns the questions with the numbers `ids`, int64 (n,), with the candidates of the whole batch."""
        return goal.part(ids.to(goal.answer_index.device))

    def inputs(self, rule: GMLPRule, goal: Lesson) -> Inputs:
        """Returns the questions as inputs that are held at the front face."""
        return rule.ask(goal.questions)

    @torch.no_grad()
    def metrics(self, rule: GMLPRule, states: Tensor, goal: Lesson) -> dict[str, float]:
        """Returns the mean cosine and retrieval among the candidates, of final states (B, C, D, H, W)."""
        return judge(rule.answer(states), rule.goal(goal.candidates), goal.answer_index).figures()

    def pattern(self, rule: GMLPRule, states: Tensor) -> dict[str, list[float]]:
        """Returns the judgement of validation questions, and the share of cells that the last gradient reached.

        Args:
            rule: The cube's rule.
            states: The iteration's final states, (B, C, D, H, W), which are not used.
        """
        reached = rule.cells.share_with_gradient()
        metrics = {} if reached is None else {"cells_with_gradient": [reached]}
        pairs = self.embedded.some("validation", VALIDATION_QUESTIONS)
        if len(pairs):
            seed = evaluation_seed(self.config.random_seed, 0)
            questions = self.embedded.question_embeddings[pairs].to(self.device)
            outputs, _ = say(rule, questions, self.config.horizon, random_seed=seed)
            goals = rule.goal(self.embedded.answer_embeddings.to(self.device))
            judgement = judge(outputs, goals, self.embedded.answer_index[pairs].to(self.device))
            metrics |= {f"validation_{name}": values.tolist() for name, values in judgement._asdict().items()}
        return metrics

    # Beside the loop --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fault(self, rule: GMLPRule) -> str:
        """Returns why a trained cube has failed: its answers to some questions aren't finite; else ""."""
        questions = self.embedded.question_embeddings[self.train[:VALIDATION_QUESTIONS]].to(self.device)
        outputs, _ = say(rule, questions, self.config.horizon, random_seed=evaluation_seed(self.config.random_seed, 0))
        return "" if outputs.isfinite().all() else BAD_AT_END

    def look(self, rule: GMLPRule, iteration: int) -> None:
        """Returns None: a cube learns until its iterations are done."""

    def note(self, rule: GMLPRule) -> str:
        """Returns how many weights the cube has, about how much memory training takes, and which questions it learns from."""
        config, questions = self.config, self.embedded.questions
        weights = sum(p.numel() for p in rule.parameters())
        trained = sum(p.numel() for p in rule.parameters() if p.requires_grad)
        elsewhere = rule.cells.elsewhere()
        # Adam's two moments of each weight: a byte each in 8 bits, else four.
        moments = 2 * trained if config.optimizer == "adamw8bit" else 8 * trained
        average = 4 * weights * bool(config.average)
        states = 4 * math.prod(rule.size) * rule.channels * (config.batch // config.accumulate) * (config.horizon + 2)
        parts = {"weights": 4 * weights, "gradients": 4 * trained, "optimizer": moments, "average": average, "states": states}
        memory = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items() if size)
        splits = ", ".join(f"{len(questions.of(split)):,} {split}" for split in questions.splits)
        return (
            f"cube: {math.prod(rule.size):,} cells, {rule.weights_a_cell():,} weights a cell ({rule.cells.mode}), "
            f"{weights + elsewhere:,} in all, {trained:,} trained{' by this process' if elsewhere else ''}\n"
            f"memory in MiB: {memory}; in all about {sum(parts.values()) / 2**20:,.0f}\n"
            f"questions: {questions.name}: {splits}; {len(questions.answers):,} answers; teacher {self.embedded.teacher.id}"
        )

    def keep(self, folder: Path) -> dict[str, Any]:
        """Saves the teacher and the answers in the run folder: what it takes to ask the cube without its training set.

        Returns:
            No fields of the config, since none changes.
        """
        save_teacher(folder, self.embedded.teacher, self.embedded.questions.answers)
        return {}
