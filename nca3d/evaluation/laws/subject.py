"""The subject of the law checks: any rule as a step from one state to the next, whoever wrote it."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.errors import InputError
from nca3d.fire import evaluation_seed, fire_mask
from nca3d.lattice import Size, as_size, centre
from nca3d.rules.cell import Rule

# The reach of a module that declares none: 3×3×3 kernels, then an alive mask that looks at updated neighbours.
ASSUMED_REACH = 2


class Fault(Exception):
    """Says in one line why a rule could not take a step: an error of its own, NaN, or a result that is no state."""


class Subject:
    """A copy of a rule and all that the laws must know of it. The rule itself is never touched.

    Args:
        module: A `Rule`, or any module whose forward takes (state) or (state, fire_mask) and returns the next state.
        size: The lattice (D, H, W) of the states.
        channels: C; default the module's own.
        random_seed: Chooses states and fire masks.

    Raises:
        InputError: If it is no module, its channels are unknown, or its forward needs other arguments.
    """

    def __init__(self, module: nn.Module, size: Size, channels: int | None = None, random_seed: int = 0) -> None:
        name = type(module).__name__
        if not isinstance(module, nn.Module):
            raise InputError("laws", "rule", name, "a torch.nn.Module")
        count = channels if channels is not None else getattr(module, "channels", None)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(name, "channels", repr(count), "a whole number from 1: as the module's .channels, or passed along")
        self.size, self.channels, self.random_seed = as_size(size), count, random_seed
        self.takes_fire = isinstance(module, Rule) or _takes_fire(module)
        self.is_rule = isinstance(module, Rule)
        # Whether the step takes inputs and the step number: such a rule keeps nothing from step to step.
        self.takes_inputs = isinstance(module, Rule) and module.takes_inputs
        # Whether the rule is one of signals: it has no alpha that says where the body is.
        self.signals = isinstance(module, Rule) and module.visible_kind == "signal"
        try:
            self.module = copy.deepcopy(module).requires_grad_(False)
        except Exception as error:
            raise InputError(name, "rule", f"{type(error).__name__}: {error}", "a module that can be copied") from error
        if self.takes_inputs:
            self.module.eval()  # its draws come from outside: none of dropout's
        self.note = self._wake()

    # What the rule declares --------------------------------------------------------------------------------------

    def attribute(self, name: str, default: object = None) -> Any:
        """Returns an attribute of the module, or the default where it has none of that name."""
        return getattr(self.module, name, default)

    @property
    def alpha(self) -> int | None:
        """The channel of alpha: the module's own, else 3 as after red, green and blue; None where there is none."""
        return self.attribute("alpha", 3 if self.channels >= 4 else None)

    @property
    def alive_mask(self) -> bool:
        """Whether empty cells must stay empty: yes, unless the module's `alive_threshold` is None."""
        return self.attribute("alive_threshold", 0) is not None

    @property
    def reach(self) -> int:
        """How many cells a change may travel in a step."""
        return int(self.attribute("reach", ASSUMED_REACH))

    @property
    def growth(self) -> int:
        """How many cells a body may grow in a step: one less than the reach where an alive mask looks at neighbours."""
        if self.is_rule and not self.alive_mask:
            return self.reach
        return max(1, self.reach - 1) if self.is_rule or self.attribute("reach") is None else self.reach

    @property
    def assumed(self) -> str:
        """The remark that the reach was assumed, for laws that depend on it; "" where the module declares it."""
        return "" if self.attribute("reach") is not None else f"; reach {ASSUMED_REACH} assumed"

    @property
    def fire_rate(self) -> float:
        """The probability that a cell updates, above 0 to 1: the module's own, else 0.5."""
        rate = self.attribute("fire_rate")
        return float(rate) if isinstance(rate, int | float) and 0 < rate <= 1 else 0.5

    @property
    def place(self) -> dict[str, Any]:
        """The device and dtype of states, as keyword arguments: those of the module's weights."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        kinds = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
        device = tensors[0].device if tensors else torch.device("cpu")
        return {"device": device, "dtype": kinds[0] if kinds else torch.float32}

    # States ------------------------------------------------------------------------------------------------------

    def empty(self, batch: int = 1) -> Tensor:
        """Returns states (B, C, D, H, W) in which every cell holds the dead value."""
        return torch.full((batch, self.channels, *self.size), float(self.attribute("dead_value", 0.0)), **self.place)

    def seed(self) -> Tensor:
        """Returns a state with one first cell at the centre: alpha and what follows it 1, what comes before 0 (signals: 1)."""
        state = self.empty()
        first = 0 if self.signals else self.alpha or 0
        state[0, :, *centre(self.size)] = (torch.arange(self.channels) >= first).to(state)
        return state

    def body(self, draw: int, batch: int = 1, share: float = 0.6) -> Tensor:
        """Returns random states (B, C, D, H, W).

        Args:
            draw: The seed of the random numbers.
            batch: B.
            share: The fraction of cells that are filled, with alpha in 0 .. 1 and other channels in -1 .. 1; the rest is
                empty.
        """
        generator = torch.Generator().manual_seed(draw)
        state = 2 * torch.rand(batch, self.channels, *self.size, generator=generator) - 1
        if self.alpha is not None:
            state[:, self.alpha].abs_()
        filled = torch.rand(batch, 1, *self.size, generator=generator) < share
        return torch.where(filled.to(self.place["device"]), state.to(**self.place), self.empty(batch))

    def away(self, cell: Size) -> Tensor:
        """Returns the Chebyshev distance of each cell from this one, int (D, H, W); around the edge where padding may wrap."""
        distance = torch.zeros(self.size, dtype=torch.long)
        for axis, (n, c) in enumerate(zip(self.size, cell, strict=True)):
            line = (torch.arange(n) - c).abs()
            # A plain module doesn't say what it pads with: the shorter way is the one that can't blame it wrongly.
            if not self.is_rule or self.attribute("padding") == "circular":
                line = torch.minimum(line, n - line)
            distance = torch.maximum(distance, line.view([n if a == axis else 1 for a in range(3)]))
        return distance.to(self.place["device"])

    # Steps -------------------------------------------------------------------------------------------------------

    def draw(self, number: int) -> int:
        """Returns the random seed of one trial."""
        return evaluation_seed(self.random_seed, number)

    def fires(self, draw: int, batch: int, steps: int) -> Tensor:
        """Returns the fire masks of some steps as `nca3d.rollout` draws them, bool (steps, B, 1, D, H, W)."""
        return fire_mask(draw, range(steps), range(batch), self.size, self.fire_rate).to(self.place["device"])

    def walk(self, state: Tensor, steps: int, draw: int, fires: Tensor | None = None) -> list[Tensor]:
        """Runs the rule for some steps; the same draw gives the same randomness, the module's own too.

        Args:
            state: The state at the beginning (B, C, D, H, W); it is not changed.
            steps: The number of steps.
            draw: The seed of fire masks and of random numbers that the module draws itself.
            fires: Fire masks in place of the drawn ones, bool (steps, B, 1, D, H, W).

        Returns:
            The states after 1 .. `steps` steps.

        Raises:
            Fault: If the module failed, or returned what is no finite state.
        """
        # A module that counts its steps or keeps averages must begin anew with each walk. One that gets the step number as
        # an argument keeps nothing, and needn't be copied.
        module = self.module if self.takes_inputs else copy.deepcopy(self.module)
        fires = self.fires(draw, len(state), steps) if fires is None else fires
        states = []
        with torch.no_grad(), _own_randomness(draw, self.place["device"]):
            for number, fire in enumerate(fires):
                # A clone, because a module may write into the state that it gets.
                arguments: tuple[Any, ...] = (state.clone(), fire) if self.takes_fire else (state.clone(),)
                state = _step(module, (*arguments, None, number) if self.takes_inputs else arguments)
                states.append(state)
        return states

    def changed(self, **attributes: object) -> "Subject":
        """Returns a copy of the subject whose module has other attributes."""
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module)
        for name, value in attributes.items():
            setattr(other.module, name, value)
        return other

    def draws_its_own(self) -> bool:
        """Whether the module takes random numbers from torch: then two states can't get the same ones cell by cell."""
        state = self.body(1, share=1.0)
        everywhere = self.fires(0, 1, 2) | True
        one, other = (self.walk(state, 2, draw, everywhere)[-1] for draw in (1, 2))
        return not torch.equal(one, other)

    def _wake(self) -> str:
        """Fills the zero weights of a rule that does nothing; a fresh one (law 1) would pass every check.

        Returns:
            A remark for the verdicts, or "" for a rule that does something.
        """
        state = self.body(0, share=1.0)
        if self.alpha is not None:
            state[:, self.alpha] = 1.0
        try:
            compared = self.attribute("visible") if self.signals else None  # a fresh cell may forget what it doesn't show
            after = self.walk(state, 1, 0, self.fires(0, 1, 1) | True)[-1]
            if not torch.equal(after[:, :compared], state[:, :compared]):
                return ""
        except Fault:
            return ""  # each law will report the fault
        zero = [weight for weight in self.module.parameters() if weight.ndim >= 2 and not weight.any()]
        generator = torch.Generator().manual_seed(0)
        for weight in zero:
            # Scaled by the fan-in, so that a step changes a state by about its own size, however wide the network is.
            numbers = torch.randn(weight.shape, generator=generator) * 0.75 * weight[0].numel() ** -0.5
            if self.alpha is not None and len(numbers) == self.channels:
                numbers[self.alpha].abs_()  # it tends to grow
            weight.copy_(numbers)
        return "; the rule does nothing yet" + (": checked on a copy with random numbers in its zero weights" if zero else "")


def _takes_fire(module: nn.Module) -> bool:
    """Whether the module's forward takes a fire mask beside the state.

    Raises:
        InputError: If it needs still other arguments.
    """
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # compiled code that doesn't say
        return False
    varying = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [entry for entry in parameters if entry.default is entry.empty and entry.kind not in varying]
    if len(required) > 2 or any(entry.kind is entry.KEYWORD_ONLY for entry in required):
        names = ", ".join(entry.name for entry in required)
        raise InputError(type(module).__name__, "forward", f"({names})", "(state) or (state, fire_mask)")
    return len(required) == 2


@contextmanager
def _own_randomness(draw: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's random numbers for a module that draws its own; the caller's go on afterwards as if nothing had been."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would seed the other devices too, which aren't forked
        torch.default_generator.manual_seed(draw)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(draw)
        yield


def _step(module: nn.Module, arguments: tuple[Any, ...]) -> Tensor:
    """Runs one step and checks that its result is a finite state of the same shape.

    Raises:
        Fault: If it is not, or the module raised an error of its own.
    """
    try:
        after = module(*arguments)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise Fault(f"{type(error).__name__}: {first}") from error
    expected = tuple(arguments[0].shape)
    if not isinstance(after, Tensor) or tuple(after.shape) != expected:
        result = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
        raise Fault(f"a step returns {result}, not a state {expected}")
    if not bool(after.isfinite().all()):
        raise Fault("NaN or infinity after a step from a finite state")
    return after.detach()
