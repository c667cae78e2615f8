"""Training a cube by the same loop: what it is asked, what its loss terms say, how they are balanced, and that it learns."""

import json
from pathlib import Path

import pytest
import torch
from resuming import cut_short, everything
from tiny_runs import CELL, tiny_cube
from tiny_runs import CUBE_SIZE as SIZE

import nca3d
from nca3d.cube.answers import judge, say
from nca3d.cube.lesson import Lesson
from nca3d.cube.ridge import fit_ridge
from nca3d.errors import InputError
from nca3d.executors import library
from nca3d.losses import DEFAULT_TERMS, LOSSES, evaluate_terms, terms_of
from nca3d.training.balance import Balance
from nca3d.training.ledger import held_bytes
from nca3d.training.optimizer_state import pack_optimizer
from nca3d.training.trainer import Trainer

needs_compiler = pytest.mark.skipif(library.compiler_found() is None, reason="needs a C compiler")
HEADINGS = ("north", "east", "south", "west")


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    """Sixteen turns of a compass: no straight line knows where one faces."""
    lines = [
        {
            "question": f"face {HEADINGS[a]} and turn {b} quarters",
            "answer": f"you face {HEADINGS[(a + b) % 4]}",
            "split": "validation" if (a, b) in ((0, 3), (2, 1)) else "train",
        }
        for a in range(4)
        for b in range(4)
    ]
    path = tmp_path_factory.mktemp("asked") / "turns.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


@pytest.fixture
def config(questions, tmp_path, monkeypatch):
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    pytest.importorskip("sklearn")
    return tiny_cube(
        questions,
        teacher_width=10,
        batch=8,
        pool_size=8,
        iterations=6,
        steps=(4, 5),
        fire_rate=0.9,
        learning_rate=0.002,
        gradient="clip",
        save_every=3,
        pattern_every=2,
        out=str(tmp_path / "run"),
        threads=1,
        warmup=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"balance": "learned", "average": 0.0, "surface_learning_rate": 10.0},
        {"balance": "softadapt", "adapters": "alone"},
        {"optimizer_in_backward": True, "gradient": "none", "memory": 2},
        {"rule_options": {**CELL, "weights": "low_rank", "periods": [1, 2], "coarse": 2}, "accumulate": 2},
    ],
)
def test_a_resumed_cube_is_the_same_cube(config, tmp_path, changes):
    """Law 11: weights, pool, balance and order of questions."""
    straight = nca3d.train(config.replace(**changes), progress=False)
    half = config.replace(**changes, out=str(tmp_path / "half"))
    cut_short(half, 3)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)
    one, two = everything(straight), everything(resumed)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


@pytest.mark.slow
def test_what_is_logged(config, capsys):
    run = nca3d.train(config, progress=False)
    said = capsys.readouterr().err
    assert "48 cells" in said and "weights a cell (per_cell)" in said and "memory in MiB" in said and "14 train" in said
    last = run.metrics[-1]
    assert {"loss_surface", "loss_internal", "loss_dialogue", "loss_reconstruction", "top1", "top5", "cosine"} <= last.keys()
    assert last["cells_with_gradient"] == 1.0 and 0 <= last["validation_top1"] <= 1
    assert "pool_dead_share" not in last and last["pool_distance_mean"] > 0
    assert run.rule.card["regime"] == "answering" and (run.folder / "answers.json").is_file()


def test_everything_between_question_and_answer_is_trained(config):
    """The faults of a system that this one follows: an adapter made after the optimizer, layers without gradient."""
    trainer = Trainer.begin(config)
    before = {name: p.detach().clone() for name, p in trainer.rule.named_parameters()}
    trainer.step()
    still = [name for name, p in trainer.rule.named_parameters() if torch.equal(p, before[name])]
    # How large the teacher's embeddings are cancels out of what is rebuilt from their surfaces.
    assert set(still) <= {"surface.wanted.log_size"}
    frozen = Trainer.begin(config.replace(adapters="alone"))
    before = {name: p.detach().clone() for name, p in frozen.rule.named_parameters()}
    frozen.step()
    still = {name for name, p in frozen.rule.named_parameters() if torch.equal(p, before[name])}
    assert still and all(name.startswith(("surface.asked", "surface.wanted")) for name in still)


def test_whole_faces_learn_at_a_rate_of_their_own(config):
    """The first step of Adam moves each weight by its learning rate."""
    trainer = Trainer.begin(config.replace(surface_learning_rate=10.0, schedule="constant"))
    before = {name: p.detach().clone() for name, p in trainer.rule.named_parameters()}
    trainer.step()
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in trainer.rule.named_parameters()}
    for name in ("surface.mix_in", "surface.mix", "surface.mix_bias"):
        assert moved.pop(name) == pytest.approx(0.02, rel=1e-3)
    assert max(moved.values()) == pytest.approx(0.002, rel=1e-3)


@pytest.mark.slow
def test_going_on_with_other_questions_is_refused(config, questions, tmp_path):
    run = nca3d.train(config.replace(iterations=3), progress=False)
    path = tmp_path / "others.jsonl"
    path.write_text(questions.read_text().replace("north", "up"))
    with pytest.raises(InputError, match="the questions and the teacher that the run began with"):
        nca3d.train(config.replace(questions=str(path)), resume=run.folder, progress=False)


def test_a_set_that_is_all_the_same_is_refused(config, tmp_path):
    path = tmp_path / "same.jsonl"
    lines = [{"question": f"what is {n}", "answer": "it is so", "split": "train"} for n in range(9)]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match="whose answers all look the same"):
        Trainer.begin(config.replace(questions=str(path)))


def test_accumulated_gradients_equal_those_of_one_batch(config):
    """Law 8, with rivals: a part of a batch is compared with the answers of all of it."""
    runs = [Trainer.begin(config.replace(accumulate=parts, gradient="none", damage_count=0)) for parts in (1, 4)]
    for trainer in runs:
        trainer.step()
    for a, b in zip(*(trainer.rule.parameters() for trainer in runs), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)


def moved_inside(config, **changes) -> tuple[Trainer, Trainer]:
    """Two runs of the same config, whose weights move behind and inside the backward pass."""
    plain = config.replace(gradient="none", optimizer="adamw", weight_decay=0.1, **changes)
    return Trainer.begin(plain), Trainer.begin(plain.replace(optimizer_in_backward=True))


@needs_compiler
def test_weights_that_move_inside_the_backward_pass_are_the_same(config):
    plain, inside = moved_inside(config)
    for _ in range(3):
        one, other = plain.step(), inside.step()
        assert other.metrics["loss"] == pytest.approx(one.metrics["loss"], rel=1e-4)
    for (name, a), b in zip(plain.rule.named_parameters(), inside.rule.parameters(), strict=True):
        # a step is 2e-3 long
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
    held = [held_bytes(trainer) for trainer in (plain, inside)]
    assert held[1]["gradients"] < 0.5 * held[0]["gradients"], "those of cells' weights never lie in memory"
    assert held[1]["optimizer"] == held[0]["optimizer"]


@needs_compiler
@pytest.mark.parametrize("where", ["cells.own.widen", "surface.mix_bias", "the gradient of a surface"])
def test_a_gradient_that_is_not_finite_leaves_every_weight(config, where):
    """Wherever it is: in the weights that move inside the backward pass, or in the others."""
    _, inside = moved_inside(config, damage_count=0)
    inside.step()
    if where == "the gradient of a surface":
        inside.rule.surface.mix.register_hook(lambda grad: grad.fill_(torch.inf))
    else:
        with torch.no_grad():
            dict(inside.rule.named_parameters())[where].view(-1)[0] = torch.inf
    before = {name: tensor.clone() for name, tensor in everything_of(inside).items()}
    outcome = inside.step()
    assert outcome.fault
    after = everything_of(inside)
    assert [name for name, tensor in before.items() if not torch.equal(tensor, after[name])] == []
    assert inside.learner.in_backward.pasts == []


def everything_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The weights and the state of the optimizer."""
    tensors, _ = pack_optimizer(trainer.optimizer)
    return {**trainer.rule.state_dict(), **tensors}


@needs_compiler
def test_moving_inside_the_backward_pass_is_refused_where_it_can_not_be_had(config):
    asked = config.replace(gradient="none", optimizer_in_backward=True, rule_options={**CELL, "dropout": 0.1})
    with pytest.raises(InputError, match=r"optimizer_in_backward: found true for a rule that has dropout .*, allowed false"):
        Trainer.begin(asked)


def test_moving_inside_the_backward_pass_is_refused_in_several_processes(config, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="optimizer_in_backward: found true in 2 processes, allowed false, one process, or"):
        Trainer.begin(config.replace(gradient="none", optimizer_in_backward=True))


def test_each_epoch_asks_every_question_once(config):
    task = Trainer.begin(config.replace(batch=4, pool_size=4)).task
    task.train = task.train[:12]
    places = {tuple(row.tolist()): n for n, row in enumerate(task.embedded.question_embeddings)}
    asked = [places[tuple(row.tolist())] for iteration in range(1, 7) for row in task.draw(iteration).questions]
    assert sorted(asked[:12]) == sorted(asked[12:]) == sorted(task.train.tolist())
    assert asked[:12] != asked[12:]
    lesson = task.draw(2)
    assert torch.equal(lesson.candidates[lesson.answer_index], lesson.answers)


@pytest.mark.slow
def test_it_learns_what_no_straight_line_can(config):
    """Turns of a compass add up like hours: ridge regression stays at chance on what it was fitted to, the cube does not."""
    run = nca3d.train(
        config.replace(
            iterations=150,
            batch=14,
            pool_size=14,
            learning_rate=0.01,
            average=0.0,
            damage_count=0,
            fire_rate=1.0,
            log_every=50,
            pattern_every=0,
        ),
        progress=False,
    )
    task = Trainer.begin(config).task
    embedded, train = task.embedded, task.train
    goals = run.rule.goal(embedded.answer_embeddings)
    right = embedded.answer_index[train]
    line = fit_ridge(embedded.question_embeddings[train], goals[right])
    straight = judge(line(embedded.question_embeddings[train]), goals, right).figures()["top1"]
    said, _ = say(run.rule, embedded.question_embeddings[train], 5)
    assert straight < 0.6
    assert judge(said, goals, right).figures()["top1"] > 0.9


def test_noise_on_questions_is_new_each_time_and_follows_from_the_seed(config):
    quiet, one, two = (Trainer.begin(config.replace(question_noise=noise)).task for noise in (0.0, 0.5, 0.5))
    drawn = [one.draw(iteration).questions for iteration in (1, 2)]
    assert torch.equal(drawn[0], two.draw(1).questions)
    noise = [asked - quiet.draw(iteration).questions for iteration, asked in enumerate(drawn, start=1)]
    assert not torch.equal(*noise)
    spread = quiet.embedded.question_embeddings[quiet.train].std(dim=0)
    assert 0.3 < float((noise[0] / spread.clamp_min(1e-9)).std()) < 0.7


def lesson_of(rule, count: int = 6) -> Lesson:
    generator = torch.Generator().manual_seed(0)
    answers = torch.randn(9, 16, generator=generator)
    right = torch.arange(count)
    return Lesson(torch.randn(count, 16, generator=generator), answers[right], right, answers)


@pytest.fixture
def plain():
    return nca3d.GMLPRule(SIZE, generator=torch.Generator().manual_seed(0), **{**CELL, "mixed": False})


def showing(rule, surface: torch.Tensor) -> torch.Tensor:
    """States whose back face reads as this surface, (1, B, C, D, H, W)."""
    state = rule.rest(len(surface))
    features = surface[:, :, None] * rule.surface.into  # carried: what is read out is what was told
    state[:, : rule.features, -1] = features.movedim(1, -1).unflatten(-1, SIZE[1:])
    return state[None]


def test_the_right_surface_costs_nothing_and_silence_costs_one(plain):
    lesson = lesson_of(plain)
    right = LOSSES["surface"](showing(plain, lesson.answers), lesson, plain)
    silent = LOSSES["surface"](plain.rest(6)[None], lesson, plain)
    assert right.max() < 1e-10
    assert 0.3 < silent.mean() < 3


def test_a_constant_answer_cannot_win(plain):
    """It has some cosine to everything, and pays for never choosing."""
    lesson = lesson_of(plain)
    right = LOSSES["dialogue"](showing(plain, lesson.answers), lesson, plain)
    constant = LOSSES["dialogue"](showing(plain, lesson.candidates.mean(dim=0).expand(6, -1)), lesson, plain)
    swapped = LOSSES["dialogue"](showing(plain, lesson.answers.roll(1, 0)), lesson, plain)
    assert right.max() < 0.2 < constant.min() and constant.mean() < swapped.mean()


def test_the_internal_loss_runs_over_depth(plain):
    """Alike layers cost nothing, whatever stands in their channels; unlike ones do."""
    states = plain.rest(2)
    states[:, : plain.features] = torch.randn(2, plain.features, 1, *SIZE[1:])
    lesson = lesson_of(plain, 2)
    assert LOSSES["internal"](states[None], lesson, plain).abs().max() < 1e-10
    states[:, : plain.features, 1] += 1.0
    assert LOSSES["internal"](states[None], lesson, plain).min() > 0.1


def assert_has_a_gradient(name: str) -> None:
    """Law 12, of a loss that fits signals: each sample tells its state the way, or it tells the adapters theirs."""
    rule = nca3d.GMLPRule(SIZE, embedding=16, generator=torch.Generator().manual_seed(0), **CELL)
    states = torch.randn(2, 6, rule.channels, *SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    term = LOSSES[name](states, lesson_of(rule), rule)
    assert term.shape == (6,) and (term > 0).all()
    assert term.requires_grad, f"{name} has no gradient: a metric is not a loss"
    of_state, *of_weights = torch.autograd.grad(term.sum(), [states, *rule.surface.parameters()], allow_unused=True)
    each = torch.zeros(6) if of_state is None else of_state.abs().amax(dim=(0, 2, 3, 4, 5))
    reached = [gradient.abs().max() > 0 for gradient in of_weights if gradient is not None]
    assert (each > 0).all() or any(reached), f"{name} has a gradient of zero: a metric is not a loss"


# All but those of bodies, which `tests/losses/` asks.
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {*LOSSES.fitting("rgb"), *LOSSES.fitting("classes")}))
def test_a_term_has_a_gradient(name):
    assert_has_a_gradient(name)


def test_every_loss_fits_something():
    """So that each is asked for its gradient, here or among those of bodies."""
    fitting = {name for kind in ("rgb", "classes", "signal") for name in LOSSES.fitting(kind)}
    assert fitting == set(LOSSES) and {"surface", "internal", "dialogue", "reconstruction"} <= set(LOSSES.fitting("signal"))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            lambda states, lesson, rule: (
                1.5 - judge(rule.answer(states[-1]), lesson.candidates, lesson.answer_index).top1.float()
            ),
            "no",
        ),
        (lambda states, lesson, rule: 9 + (4 * states[-1]).round().mean(dim=(1, 2, 3, 4)), "a gradient of zero"),
    ],
)
def test_a_metric_that_is_registered_as_a_loss_would_not_pass(metric, words, registries):
    LOSSES.register("metric", kinds=("signal",))(metric)
    with pytest.raises(AssertionError, match=f"metric has {words}"):
        assert_has_a_gradient("metric")


def test_terms_of_bodies_and_of_cubes_do_not_mix():
    assert terms_of({}, "signal") == DEFAULT_TERMS["signal"]
    with pytest.raises(InputError, match="losses: found 'rgba', allowed terms for a target of kind 'signal': surface"):
        terms_of({"rgba": 1.0}, "signal")
    with pytest.raises(InputError, match="found 'dialogue', allowed terms for a target of kind 'rgb'"):
        terms_of({"dialogue": 1.0}, "rgb")


@pytest.mark.slow
def test_balances():
    terms = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([10.0, 10.0])}
    assert torch.equal(Balance("fixed", ["a", "b"]).total(terms), torch.tensor([11.0, 13.0]))

    learned = Balance("learned", ["a", "b"])
    optimizer = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss = learned.own_loss(torch.stack(list(terms.values())))
        assert loss is not None
        torch.testing.assert_close(learned.total(terms).mean(), loss.detach())
        loss.backward()
        optimizer.step()
    # Kendall et al. 2018: the best log-variance of a constant term is its logarithm, so that each ends up counting for 1.
    torch.testing.assert_close(learned.factors().detach(), torch.tensor([1 / 2.0, 1 / 10.0]), rtol=0.05, atol=0)
    assert set(learned.metrics()) == {"balance_a", "balance_b"}

    soft = Balance("softadapt", ["a", "b"])
    assert torch.equal(soft.factors(), torch.ones(2))
    for step in range(200):
        soft.note({"a": 1.0, "b": 0.99**step})
    a, b = soft.factors().tolist()
    assert a > 1 > b and a + b == pytest.approx(2)
    assert all(t.isfinite().all() for t in Balance("softadapt", ["a"]).state_dict().values())
    assert evaluate_terms({}, torch.zeros(1, 1), None, None) == {}


@pytest.mark.slow
def test_ridge_is_the_best_line_that_leaving_out_finds():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator)
    y = x @ torch.randn(5, 3, generator=generator) + 2.0
    line = fit_ridge(x, y)
    torch.testing.assert_close(line(x), y, rtol=1e-3, atol=1e-3)
    noise = torch.randn(60, 3, generator=generator)
    assert fit_ridge(x, noise).strength > 1 > line.strength
    left_out = torch.stack([fit_ridge_without(x, noise, n) for n in range(60)])
    assert left_out.shape == (60, 3)


def fit_ridge_without(x, y, n):
    keep = torch.arange(len(x)) != n
    return fit_ridge(x[keep], y[keep])(x[n : n + 1])[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 15, "pool_size": 20}, "batch: found 15, allowed at most the 14 questions"),
        ({"rule_options": {**CELL, "preset": "leaky"}}, "preset: found 'leaky'"),
        ({"questions": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"teacher": "nowhere"}, "nowhere"),
        ({"losses": {"rgba": 1.0}}, "losses: found 'rgba'"),
    ],
)
def test_bad_input_is_one_line_each(config, changes, words):
    with pytest.raises(ValueError) as error:
        nca3d.train(config.replace(**changes), progress=False)
    assert words in str(error.value) and not Path(config.out).exists()


def test_rule_and_regime_belong_together():
    with pytest.raises(InputError, match="rule: found 'conv', allowed gmlp"):
        nca3d.Config(regime="answering")
    with pytest.raises(InputError, match="regime: found 'regenerating', allowed answering"):
        nca3d.Config(rule="gmlp")
    assert nca3d.Config(regime="answering", rule="gmlp", size=(11, 15, 15)).steps_range == (12, 16)
