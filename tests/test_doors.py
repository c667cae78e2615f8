"""The doors: listed, typed, late; and ten things that a notebook does with them, in a few lines each."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import nca3d
import pools

CALLABLE = (
    "compact",
    "dense",
    "evaluate",
    "fire_mask",
    "iou",
    "live",
    "load",
    "record",
    "rollout",
    "seed_state",
    "train",
    "zoo",
)


def test_doors_are_what_dir_says_and_each_opens():
    assert dir(nca3d) == sorted([*nca3d.__all__, "__version__"])
    for name in nca3d.__all__:
        assert getattr(nca3d, name) is not None


@pytest.mark.slow
def test_after_importing_every_submodule_the_doors_are_still_callable():
    code = (
        "import importlib, pkgutil, nca3d\n"
        "for found in pkgutil.walk_packages(nca3d.__path__, 'nca3d.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        f"print(*[name for name in {CALLABLE!r} if not callable(getattr(nca3d, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_no_public_signature_says_any():
    looked_at = set()
    for name in nca3d.__all__:
        door = getattr(nca3d, name)
        if isinstance(door, ModuleType) or not callable(door):
            continue
        asked = (
            [door, *(value for key, value in vars(door).items() if not key.startswith("_"))]
            if isinstance(door, type)
            else [door]
        )
        for thing in (entry.__func__ if isinstance(entry, classmethod | staticmethod) else entry for entry in asked):
            if not inspect.isfunction(thing) or not thing.__module__.startswith("nca3d"):
                continue
            looked_at.add(thing.__qualname__)
            says = {key: str(entry) for key, entry in thing.__annotations__.items()}
            assert not [key for key, entry in says.items() if "Any" in entry], f"{name}.{thing.__name__}: {says}"
    assert {"train", "rollout", "Rule.forward", "Config.load", "Target.rgba"} <= looked_at


def test_packages_are_marked_as_typed():
    for package in ("nca3d", "pools", "visualize"):
        assert (Path(importlib.import_module(package).__file__).parent / "py.typed").is_file()


def test_every_submodule_says_what_it_holds():
    names = [found.name for found in pkgutil.walk_packages(nca3d.__path__, "nca3d.") if not found.name.endswith("__main__")]
    assert {"nca3d.rollout", "nca3d.rules.cell", "nca3d.evaluation.laws.checks"} <= set(names)
    assert not [name for name in names if not importlib.import_module(name).__doc__]


# ---- ten snippets ---------------------------------------------------------------------------------------------------

SIZE = (5, 6, 7)
SHORT = nca3d.Config(
    target="cross", size=SIZE, channels=8, hidden=(8,), iterations=2, batch=2, pool_size=4, steps=(3, 5), report=False, warmup=0
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def box() -> np.ndarray:
    labels = np.zeros(SIZE, int)
    labels[1:4, 2:4, 2:5] = 1
    labels[2, 2, 3] = 2
    return labels


def test_a_rule_of_ones_own_gets_only_the_arguments_that_it_asks_for(registries):
    @nca3d.RULES.register("plain")
    class Plain(nca3d.ConvRule):
        def __init__(self, channels: int = 8, fire_rate: float = 0.5) -> None:
            super().__init__(channels, hidden=(4,), fire_rate=fire_rate)

        def spec(self) -> dict[str, object]:
            return {"channels": self.channels, "fire_rate": self.fire_rate}

    run = nca3d.train(SHORT.replace(rule="plain"), progress=False)
    assert type(nca3d.load(run.folder)) is Plain

    @nca3d.RULES.register("plainer")
    class Plainer(nca3d.ConvRule):
        def __init__(self, channels: int = 8) -> None:
            super().__init__(channels, hidden=(4,))

    run = nca3d.train(SHORT.replace(rule="plainer"), progress=False)
    assert type(nca3d.load(run.folder)) is Plainer  # its spec() says more than its constructor takes

    @nca3d.RULES.register("forgetful")
    class Forgetful(nca3d.ConvRule):
        def __init__(self, channels: int, wide: int = 4) -> None:
            super().__init__(channels, hidden=(wide,))

        def spec(self) -> dict[str, object]:
            return {"wide": 4}

    with pytest.raises(nca3d.InputError, match=r"rule: found 'forgetful': missing .*'channels', allowed a rule whose spec"):
        nca3d.train(SHORT.replace(rule="forgetful"), progress=False)


def test_a_loss_of_ones_own_over_two_states(registries):
    seen = []

    @nca3d.LOSSES.register("smooth", moments=2, kinds=("rgb",))
    def smooth(moments, target, rule):
        seen.append(len(moments))
        return (moments[1] - moments[0]).square().mean(dim=(1, 2, 3, 4))

    run = nca3d.train(SHORT.replace(losses={"rgba": 1.0, "smooth": 0.1}, steps=(9, 9), log_every=1), progress=False)
    assert set(seen) == {2} and "loss_smooth" in run.metrics[-1]
    with pytest.raises(nca3d.InputError, match=r"losses: found 'smooth', allowed terms for a target of kind 'classes'"):
        nca3d.train(SHORT.replace(losses={"smooth": 1.0}), target=box(), progress=False)


@pytest.mark.parametrize("how", ["array", "target", "rgb"])
def test_a_target_from_an_array(how):
    body = {
        "array": box,
        "target": lambda: nca3d.targets.from_array(box(), size=SIZE, names=["empty", "skin", "bone"]),
        "rgb": lambda: nca3d.targets.load("heart", size=SIZE),
    }[how]()
    run = nca3d.train(SHORT.replace(target="cross", channels=12), target=body, progress=False)
    again = nca3d.load(run.folder)
    assert (again.target().occupied.numpy() == (np.asarray(body) > 0 if how == "array" else body.occupied.numpy())).all()
    assert again.target().kind == ("rgb" if how == "rgb" else "classes")
    if how == "target":
        assert again.target().names == body.names and np.allclose(again.target().palette, body.palette)
    assert run.folder.name == {"array": "array-1", "target": "array-1", "rgb": "heart-1"}[how]
    grown, moved = again.target().occupied, run.folder.rename(run.folder.with_name("moved"))
    assert (nca3d.load(moved).target().occupied == grown).all()
    longer = nca3d.train(resume=moved, iterations=3, progress=False)
    assert longer.folder == moved and longer.metrics is not None


def test_what_is_no_body_config_rule_or_state_is_told():
    rule = nca3d.ConvRule(8, hidden=(4,))
    state, organs = nca3d.seed_state(rule, SIZE), nca3d.targets.from_array(box(), size=SIZE)
    cube = nca3d.Config.load("cube").replace(size=(4, 3, 3), teacher_width=9)
    for call, words in {
        lambda: nca3d.train(SHORT, target="axolotl"): r"target: found 'axolotl', allowed an array or a Target; a name stands",
        lambda: nca3d.train("quick"): "config: found a str, allowed a Config",
        lambda: nca3d.train(SHORT, rule="zoo:frog"): "rule: found a str, allowed a Rule",
        lambda: nca3d.train(SHORT.replace(rule_options={"visibel": True})): "found 'visibel', allowed .*did you mean",
        lambda: nca3d.train(SHORT.replace(executor="event-approx")): "executor: found 'event-approx' for ConvRule",
        lambda: nca3d.rollout("zoo:frog", state, 1): "rule: found a str, allowed a Rule",
        lambda: nca3d.rollout(nca3d.ConvRule(8), state.numpy(), 1): "state: found a ndarray, allowed a Tensor",
        lambda: nca3d.tell(
            nca3d.load("zoo:cross"), nca3d.load("zoo:cross").target(), 9, cuts=["9:sphere"]
        ): "cuts: found '9:sphere', allowed nca3d.Cut",
        lambda: nca3d.tell(
            nca3d.load("zoo:cross"), nca3d.load("zoo:cross").target(), 9, [nca3d.Cut(2, "spher", 0.3)]
        ): "'sphere'",
        lambda: nca3d.tell(rule, organs, 9): "tell: target: found classes with 3 visible channels, allowed rgb with 3",
        lambda: nca3d.tell(rule, None, 9): "tell: target: found a NoneType",
        lambda: nca3d.evaluate(rule, organs): "evaluate: target: found classes with 3 visible channels, allowed rgb with 3",
        lambda: nca3d.iou(state[:, :3], organs): "state: found shape .*, allowed .B, C, D, H, W., C above the 3 of the target",
        lambda: nca3d.train(cube, target=box()): "train: target: found a body, allowed no target where regime = answering",
        lambda: nca3d.train(resume="nowhere"): "nowhere: run folder: found no such folder",
    }.items():
        with pytest.raises(ValueError, match=words):
            call()
    assert not list(Path().iterdir())


def test_a_loss_of_another_shape_is_told_by_its_name(registries):
    @nca3d.LOSSES.register("scalar")
    def scalar(moments, target, rule):
        return moments.square().mean()

    with pytest.raises(nca3d.InputError, match=r"losses: scalar: found shape \(\), allowed \(\d,\), one number for each"):
        nca3d.train(SHORT.replace(losses={"scalar": 1.0}), progress=False)


def test_a_loss_under_a_second_name_leaves_the_first_as_it_is(registries):
    from nca3d.losses import LOSSES, rgba

    LOSSES.register("rgba_everywhere", kinds=("rgb", "classes"))(rgba)
    LOSSES.register("rgba_again")(rgba)
    fitting = LOSSES.fitting("classes")
    assert "rgba_everywhere" in fitting and not {"rgba", "rgba_again"} & set(fitting)


def test_damage_of_ones_own(registries):
    @pools.damage.register("corner")
    def corner(size, n, *, severity, body=None, generator=None):
        """Takes one corner of the lattice."""
        mask = torch.zeros(n, 1, *size, dtype=torch.bool)
        mask[..., :2, :2, :2] = True
        return mask

    run = nca3d.train(SHORT.replace(damages=("corner",), damage_from=0.0), progress=False)
    assert run.pool.states.isfinite().all()


def test_a_sweep_over_seeds_without_reports():
    losses = {seed: nca3d.train(SHORT.replace(random_seed=seed), progress=False).rule for seed in (0, 1)}
    assert len({float(rule.network[0].weight.sum()) for rule in losses.values()}) == 2
    assert not list(Path("runs").rglob("report.html"))


def test_load_and_go_on():
    run = nca3d.train(SHORT, progress=False)
    on = nca3d.train(SHORT.replace(out=""), resume=run.folder, iterations=4, report=False, progress=False)
    assert on.folder == run.folder
    rule = nca3d.load(run.folder)
    assert not any(weight.requires_grad for weight in rule.parameters())
    assert all(weight.requires_grad for weight in nca3d.load(run.folder, trainable=True).parameters())
    other = nca3d.train(SHORT, rule=rule, progress=False)
    assert not any(weight.requires_grad for weight in rule.parameters()), "it was copied"
    assert other.rule.network[0].weight.shape == rule.network[0].weight.shape
    with pytest.raises(nca3d.InputError, match="resume"):
        nca3d.train(resume=run.folder, rule=rule, progress=False)


def test_a_trajectory_as_numpy():
    rule = nca3d.load("zoo:cross")
    film = nca3d.record(rule, nca3d.seed_state(rule), 9, every=4)
    assert film.steps.tolist() == [0, 4, 8, 9]
    frames = film.numpy(rule)
    assert frames.shape == (4, *rule.card["size"], 4) and frames.dtype == np.float32 and frames.max() <= 1


def test_a_plot_of_growth():
    rule = nca3d.load("zoo:cross")
    film = nca3d.record(rule, nca3d.seed_state(rule), rule.card["horizon"])
    growth = [float(nca3d.iou(state, rule.target())[0]) for state in film.states]
    assert growth[0] < 0.2 and growth[-1] > 0.95
    assert nca3d.body_mask(film.states[-1], rule).sum() == pytest.approx(int(rule.target().occupied.sum()), rel=0.05)


@pytest.mark.slow
def test_evaluation_of_the_zoo_in_a_loop():
    preset = nca3d.evaluation.Preset(samples=1, hold_steps=20, late_steps=0)
    small = [name for name in nca3d.zoo() if np.prod(nca3d.load(f"zoo:{name}").card["size"]) < 3000]
    # Of several bodies it is the worst.
    grown = {name: nca3d.evaluate(f"zoo:{name}", preset=preset)["grow_iou"] for name in small}
    assert min(grown.values()) > 0.9


def test_a_training_loop_of_ones_own():
    target = nca3d.targets.load("cross", size=SIZE)
    rule = nca3d.ConvRule(channels=8, hidden=(8,), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(rule.parameters(), lr=2e-3)
    pool = pools.StatePool(nca3d.seed_state(rule, SIZE, 8), generator=torch.Generator().manual_seed(0))
    losses = []
    for iteration in range(3):
        batch = pool.sample(4)
        states = batch.states.clone()
        states[:1] = nca3d.seed_state(rule, SIZE)
        states = nca3d.rollout(rule, states, 6, random_seed=iteration)
        loss = (states[:, :4] - target.values).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pool.replace(batch.index, states.detach())
        losses.append(loss.item())
    assert losses[-1] < losses[0]
