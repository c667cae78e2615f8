"""`torch.compile` for rules with a step of their own, which the executor `dense` runs as they are written.

Choose it (`compile = true`) for a rule of your own whose `forward` is many small operations, on a GPU above all: they become a
few loops. Other rules have a backward pass written out, or compiled code of ours: nothing of them would be compiled.

A step is one graph without breaks, or it is not compiled at all: where compilation fails, one line says why, and the rule goes
on as it is written. Fire masks are arguments of the graph, so they are drawn outside it (law 4).
"""

import inspect
import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import InputError
from nca3d.executors.every_cell import stepper_of
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import RuleWithInputs

# Graphs that one rule may need: with gradient and without, of the first step and of later ones, for some sizes of a batch.
MOST_GRAPHS = 64

# Arguments of torch.compile that newer versions know: graphs of one rule don't count against those of another run.
NEWER = {"recompile_limit": MOST_GRAPHS, "isolate_recompiles": True}


class CompiledStep:
    """The step of a rule: compiled, or as it is written once compilation has failed.

    Args:
        kind: The rule's class. The rule itself is an argument of each call: held here, it would never be let go.

    Attributes:
        cause: Why the step is not compiled, in one line; "" = it is.
    """

    def __init__(self, kind: type[Rule]) -> None:
        known = inspect.signature(torch.compile).parameters
        newer: Any = {name: value for name, value in NEWER.items() if name in known}
        # One graph for each shape: graphs of any shape take far longer to compile, and fail in more places.
        self.compiled: Callable[..., Tensor] = torch.compile(kind.forward, fullgraph=True, dynamic=False, **newer)
        self.cause = ""

    def __call__(self, rule: Rule, *arguments: object) -> Tensor:
        """Runs one step of the rule with the arguments of its `forward`; returns the states after it, (B, C, D, H, W)."""
        if not self.cause:
            try:
                return self.compiled(rule, *arguments)
            except _failures() as error:
                # For good: each further try would take as long again.
                self.cause = _cause(error)
                print(f"compile: {self.cause}; the rule runs as it is written", file=sys.stderr)
        after: Tensor = rule(*arguments)
        return after


_compiled: weakref.WeakKeyDictionary[Rule, CompiledStep] = weakref.WeakKeyDictionary()


def compile_step(rule: Rule) -> None:
    """Has the executor `dense` run the step of this very rule compiled from now on; copies of it run as they are written.

    Raises:
        InputError: The rule has no step of its own, so that nothing of it would be compiled.
    """
    if stepper_of(rule) or not rule.has_own_step():
        found = f"true for {type(rule).__name__}, whose step is not its own"
        raise InputError("config", "compile", found, "false, or a rule with a forward (perceive, alive_mask, pad) of its own")
    _compiled[rule] = CompiledStep(type(rule))


def step_of(rule: Rule) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns what runs one step of a rule, (state, fire) -> state, each (B, C, D, H, W): compiled if that was asked for."""
    if compiled := _compiled.get(rule):
        return lambda state, fire: compiled(rule, state, fire)
    if isinstance(rule, RuleWithInputs) and (inside := _compiled.get(rule.rule)):
        return lambda state, fire: inside(rule.rule, state, fire, rule.inputs, 0)
    return rule


def told(rule: Rule) -> str:
    """Returns how the step of a rule runs: "no" (nobody asked for compilation), "yes", or "no: " and why it failed."""
    step = _compiled.get(rule)
    return "no" if step is None else f"no: {step.cause}" if step.cause else "yes"


def _failures() -> tuple[type[Exception], ...]:
    """Returns the errors that mean that something can't be compiled; a rule's own mistakes come again when it runs."""
    # Late: this part of torch takes seconds to import.
    from torch._dynamo import exc

    # OSError: a compiler that can't be started, or a cache folder that can't be written to.
    return exc.TorchDynamoException, getattr(exc, "FailOnRecompileLimitHit", exc.TorchDynamoException), OSError


def _cause(error: Exception) -> str:
    """Returns one line on why compilation failed, without the pages that torch adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A compiler says what is wrong in a line of its own, below the long command that called it.
    wrong = next((line.partition("error: ")[2] for line in lines if " error: " in line), "")
    first = lines[0] if lines else type(error).__name__
    return f"{first.rstrip('.:')}{f' ({wrong})' if wrong else ''}"[:300]
