"""torch.compile for rules with a step of their own: one graph, the numbers of the rule as it is written, and a way out."""

import copy
import gc
import weakref

import pytest
import torch
from tiny_runs import tiny_body

import nca3d
from nca3d.errors import InputError
from nca3d.executors import torch_compile
from nca3d.executors.compiler import compiler_found
from nca3d.rollout import rollout
from nca3d.rules import RULES, ConvRule
from nca3d.training.ran import ran
from nca3d.training.trainer import Trainer

SIZE = (5, 5, 5)


class Smooth(ConvRule):
    """A rule with a step of its own: its changes are bounded."""

    def forward(self, state, fire):
        pre = self.alive_mask(state)
        delta = self.update(self.perceive(state).movedim(1, -1)).movedim(-1, 1)
        y = torch.where(fire, state + self.step_size * torch.tanh(delta), state)
        return torch.where(pre & self.alive_mask(y), y, self.dead_value)


class Talkative(Smooth):
    """One that can't be one graph: it looks at a number in each step."""

    def forward(self, state, fire):
        return super().forward(state, fire) if float(state.detach().sum()) > -1e9 else state


def smooth(kind=Smooth):
    generator = torch.Generator().manual_seed(0)
    rule = kind(channels=8, hidden=(16,), generator=generator)
    torch.nn.init.normal_(rule.network[-1].weight, std=0.2, generator=generator)
    return rule


def last_and_gradients(rule, memory="keep"):
    state = torch.rand(2, 8, *SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    last = rollout(rule, state, 5, executor="dense", memory=memory)
    return [last.detach(), *torch.autograd.grad(last.square().sum(), [state, *rule.parameters()])]


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.slow
@pytest.mark.skipif(compiler_found() is None, reason="needs a compiler")
def test_a_compiled_step_is_one_graph_with_the_same_numbers(capsys):
    """Law 5 and law 8, with fire masks drawn outside: gradients too, kept or computed again."""
    from torch._dynamo.utils import counters

    counters.clear()
    plain, rule = smooth(), smooth()
    torch_compile.compile_step(rule)
    wanted, kept = last_and_gradients(plain), last_and_gradients(rule)
    if torch_compile.told(rule).startswith("no: "):
        pytest.skip(f"torch.compile works not here: {torch_compile.told(rule)}")
    assert torch_compile.told(rule) == "yes" and capsys.readouterr().err == ""
    assert_close(kept, wanted, 1e-5)
    # The first step and later ones differ in where their state lies in memory, at most.
    assert counters["stats"]["unique_graphs"] <= 2 and not counters["graph_break"]
    for memory in ("recompute", 2):
        assert all(torch.equal(a, b) for a, b in zip(last_and_gradients(rule, memory), kept, strict=True))
    assert counters["stats"]["unique_graphs"] <= 2


def test_a_step_that_is_no_graph_runs_as_it_is_written(capsys):
    """One line, once, and the record of the run says why."""
    plain, rule = smooth(Talkative), smooth(Talkative)
    torch_compile.compile_step(rule)
    for memory in ("keep", "recompute"):
        assert_close(last_and_gradients(rule, memory), last_and_gradients(plain, memory), 0.0)
    line = capsys.readouterr().err
    assert line.startswith("compile: ") and line.count("\n") == 1 and "runs as it is written" in line
    assert torch_compile.told(rule).startswith("no: ") and torch_compile.told(rule)[4:] in line


def test_copies_run_as_they_are_written(registries):
    """What a trained rule is evaluated by is a copy: it carries no compiled step, and nobody holds the old one."""
    rule = smooth()
    torch_compile.compile_step(rule)
    assert torch_compile.told(copy.deepcopy(rule)) == "no"
    gone = weakref.ref(rule)
    del rule
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("asked", ["conv", "own network"])
def test_asked_for_where_nothing_would_be_compiled_is_refused(asked, registries, tmp_path):
    class OwnUpdate(ConvRule):
        def update(self, perception):
            return 0.5 * super().update(perception)

    RULES["own network"] = OwnUpdate
    with pytest.raises(InputError, match=r"compile: found [Tt]rue"):
        nca3d.train(tiny_body(rule=asked, compile=True, out=str(tmp_path / "run")), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_and_says_so(registries, capsys):
    RULES["talkative"] = Talkative
    trainer = Trainer.begin(tiny_body(rule="talkative", compile=True, steps=(2, 2)))
    assert "the rule runs as it is written" in capsys.readouterr().err
    assert ran(trainer)["compiled"].startswith("no: ") and ran(trainer)["executor"].startswith("dense, torch")
    other = Trainer.begin(tiny_body(rule="talkative", steps=(2, 2)))
    assert trainer.step().metrics == other.step().metrics


@pytest.mark.slow
def test_without_a_compiler_eager_goes_on(tmp_path, monkeypatch, capsys):
    """For real: inductor looks for a compiler, and there is none."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, rule = smooth(), smooth()
    torch_compile.compile_step(rule)
    with config.patch({"cpp.cxx": ("/nowhere/g++",), "fx_graph_cache": False}):
        assert_close(last_and_gradients(rule), last_and_gradients(plain), 0.0)
    assert torch_compile.told(rule).startswith("no: ") and "compiler" in torch_compile.told(rule).lower()
    assert capsys.readouterr().err.count("compile: ") == 1
