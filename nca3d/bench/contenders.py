"""Who is measured: the textbook step and every executor, each run forward alone and as training."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nca3d.bench.inputs import living_share, loss, make_rule, make_state
from nca3d.bench.settings import TEXTBOOK, Setting, refuse_unknown
from nca3d.bench.textbook import Textbook
from nca3d.executors import EXECUTORS, exact
from nca3d.rollout import rollout
from nca3d.sparse import Compact, compact, dense

# They take seconds a step on large lattices, so their warm-up is short.
SLOW = (TEXTBOOK, "graph")


@dataclass(frozen=True)
class Contender:
    """One way to run a setting.

    Args:
        executor: "textbook", an executor's name, or a peer's.
        bf16: the network computes under bf16 autocast; the state stays float32.
        compact: the state goes in and comes out as `nca3d.compact`: cells that are not zero, and nothing of the volume's size.
        memory_budget: of `rollout`; None = its own.
    """

    executor: str
    bf16: bool = False
    compact: bool = False
    memory_budget: int | None = None

    @property
    def name(self) -> str:
        """The name that tables have for it."""
        return self.executor + " compact" * self.compact + " bf16" * self.bf16


def contenders(setting: Setting, executors: Sequence[str] | None = None, peers: Iterable[str] = ()) -> list[Contender]:
    """Returns who takes part: the textbook first, then peers, then executors.

    The event-driven one runs also from compact states to compact states where most cells are dead; those that may compute in
    bf16 come a second time.

    Args:
        setting: what is measured.
        executors: names, or None for all that are exact in one process.
        peers: names of those that take part.

    Raises:
        InputErrors: unknown executors, one line each.
    """
    refuse_unknown("--executors", executors or (), [*EXECUTORS, "auto"])
    # In one process slabs are events; what several are worth, `benchmarks/slabs.py` measures.
    every = [name for name in exact() if name != "slabs"]
    torch_names = [TEXTBOOK, *dict.fromkeys(every if executors is None else executors)]
    plain = [Contender(name) for name in torch_names]
    compact = [Contender(name, compact=True) for name in torch_names if name == "event" and setting.living < 0.5]
    narrow = [Contender(name, bf16=True) for name in torch_names if setting.bf16]
    who = [plain[0], *map(Contender, peers), *plain[1:], *compact, *narrow]
    return [contender for contender in who if not setting.only or contender.executor in setting.only]


class TorchRunner:
    """A contender that runs in this process.

    Args:
        contender: who.
        setting: what; the same rule and state for all.
        device: where.
    """

    #: Share of the cells that were alive at the end of the warm-up.
    living = float("nan")

    def __init__(self, contender: Contender, setting: Setting, device: torch.device) -> None:
        self.contender, self.setting, self.device = contender, setting, device
        rule = make_rule(setting)
        state = make_state(setting, rule).to(device)
        self.rule = rule.to(device)
        self.state: Tensor | Compact = compact(state) if contender.compact else state
        self.textbook = Textbook(self.rule).to(device) if contender.executor == TEXTBOOK else None

    def warm_up(self) -> None:
        """Does both kinds of run once: the first call of an operation sets it up. Slow contenders train for two steps."""
        seed = self.setting.random_seed
        self.run(True, seed, steps=2 if self.contender.executor in SLOW else None)
        last = self.run(False, seed)
        self.living = living_share(dense(last) if isinstance(last, Compact) else last, self.rule)
        self._drop_gradients()

    def run(self, training: bool, random_seed: int, steps: int | None = None) -> Tensor | Compact:
        """Returns the last state (B, C, D, H, W) of one rollout; as training, it has left the gradients of all parameters."""
        with torch.set_grad_enabled(training):
            last = self._rollout(self.setting.steps if steps is None else steps, random_seed)
            if training:
                loss(last, self.rule).backward()
        return last

    def time(self, training: bool, random_seed: int) -> float:
        """Returns the seconds of one rollout, with its backward pass if `training`.

        Training meets new masks, and so new numbers of firing cells, in each iteration: give each repetition its own seed, or
        libraries that prepare a kernel for each size look faster than they are.
        """
        self._wait()
        start = time.perf_counter()
        self.run(training, random_seed)
        self._wait()
        seconds = time.perf_counter() - start
        self._drop_gradients()
        return seconds

    def close(self) -> None:
        """Does nothing: there is nothing to give back."""

    def _rollout(self, steps: int, random_seed: int) -> Tensor | Compact:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.contender.bf16):
            if self.textbook is not None:
                assert isinstance(self.state, Tensor), "the textbook knows no compact states"
                return self.textbook.rollout(self.state, steps)
            name, budget = self.contender.executor, self.contender.memory_budget
            return rollout(self.rule, self.state, steps, random_seed=random_seed, executor=name, memory_budget=budget)

    def _drop_gradients(self) -> None:
        (self.textbook or self.rule).zero_grad(set_to_none=True)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
