"""A pool of evolved states: sample some, let them evolve, write each back to its own slot (law 9).

Without a pool a rule only learns to grow from the seed. With a pool it meets its own old states again, and learns to keep
them alive (Mordvintsev et al. 2020, "Growing Neural Cellular Automata").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from pools import damage as damages
from pools.errors import ArgumentError

# (bodies bool (k,D,H,W), generator) -> bool (k,1,D,H,W), True = destroyed.
Damage = Callable[[Tensor, torch.Generator | None], Tensor]
# Why a state is replaced by the seed.
REASONS = ("dead", "non_finite")


@dataclass(frozen=True, eq=False)
class Batch:
    """A sample of a pool.

    Attributes:
        index: int64 (n,), the slots, each once.
        states: (n,C,D,H,W), a copy.
        age: int64 (n,), steps since the slot's last seed.
        label: int64 (n,), which body each state is to become; 0 in a pool of one body.
    """

    index: Tensor
    states: Tensor
    age: Tensor
    label: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch that is ready to evolve, in the order of the sample.

    Attributes:
        states: (n,C,D,H,W).
        fresh: bool (n,), True where the state was replaced by the seed.
        damaged: bool (n,), True where the state was damaged.
    """

    states: Tensor
    fresh: Tensor
    damaged: Tensor


class StatePool:
    """States that training returns to, each in its own slot.

    Args:
        states: (N,C,D,H,W) float32, finite; copied.
        generator: draws the samples and nothing else; default a fresh CPU generator seeded with 0.
        seed: (C,D,H,W), the exact state from which dead and non-finite states start again; default a copy of `states[0]`. In a
            pool of several bodies (L,C,D,H,W), one for each.
        dead_value: the value of all channels of a dead cell.
        labels: int64 (N,), 0..L-1, which body each slot is to become; None = there is one body.

    Attributes:
        states: (N,C,D,H,W) float32.
        age: (N,) int64, steps since the slot's last seed.
        seeds: (L,C,D,H,W) float32, one for each body.
        label: (N,) int64.
        reseeded: how many states were replaced by the seed so far, `{"dead": int, "non_finite": int}`.

    Raises:
        ValueError: a shape, dtype or value can't be used.
    """

    def __init__(
        self,
        states: Tensor,
        *,
        generator: torch.Generator | None = None,
        seed: Tensor | None = None,
        dead_value: float = 0.0,
        labels: Tensor | None = None,
    ) -> None:
        if not isinstance(states, Tensor) or states.ndim != 5 or not states.numel():
            _refuse("states", _shape(states), "(N,C,D,H,W), none of them 0")
        seed = states[0] if seed is None else seed
        seeds = seed[None] if isinstance(seed, Tensor) and seed.ndim == 4 else seed
        if _shape(seeds)[1:] != tuple(states.shape[1:]) or not len(seeds) or (labels is None and len(seeds) > 1):
            several = "" if labels is None else ", one or one for each body"
            _refuse("seed", _shape(seed), f"(C,D,H,W) = {tuple(states.shape[1:])}{several}")
        label = torch.zeros(len(states), dtype=torch.int64) if labels is None else torch.as_tensor(labels)
        if (
            _shape(label) != (len(states),)
            or label.dtype != torch.int64
            or not 0 <= int(label.min()) <= int(label.max()) < len(seeds)
        ):
            _refuse("labels", f"{_shape(label)} {label.dtype}", f"int64 ({len(states)},), each 0..{len(seeds) - 1}")
        for field, values in (("states", states), ("seed", seed)):
            _check_values(field, values)
        # Contiguous copies: an expanded seed would share its memory among all slots.
        self.states = states.detach().clone(memory_format=torch.contiguous_format)
        self.seeds = seeds.detach().to(self.states.device).clone(memory_format=torch.contiguous_format)
        # On the host, wherever the states are: nobody waits for a device to know which body a slot is.
        self.label = label.cpu().clone()
        self.labelled = labels is not None
        self.age = torch.zeros(len(states), dtype=torch.int64, device=states.device)
        self.reseeded = dict.fromkeys(REASONS, 0)
        self.dead_value = float(dead_value)
        if not isinstance(generator, torch.Generator | None):
            raise ArgumentError("pool", "generator", f"a {type(generator).__name__}", "a torch.Generator, or None")
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def __len__(self) -> int:
        return len(self.states)

    @property
    def seed(self) -> Tensor:
        """The seed (C,D,H,W) of the one body, or of the first of several."""
        return self.seeds[0]

    def sample(self, n: int) -> Batch:
        """Draws `n` different slots, all equally likely, and returns copies of their states.

        In a pool of several bodies it draws some bodies first, as many as come at least twice each, and then about as many
        slots of each: a body's states can be ranked among each other only where there are two.

        Raises:
            ValueError: `n` is below 1 or above the pool's size.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(self):
            _refuse("sample", repr(n), f"1..{len(self)} (the pool's size)")
        drawn = draw_slots(self.label, len(self.seeds) if self.labelled else 0, n, self.generator)
        label = self.label[drawn.cpu()] if self.labelled else torch.zeros(n, dtype=torch.int64)
        index = drawn.to(self.states.device)
        return Batch(index, self.states[index], self.age[index], label)

    def replace(
        self,
        index: Tensor,
        new_states: Tensor,
        *,
        steps: int | Tensor = 0,
        fresh: Tensor | None = None,
        ages: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, int]:
        """Writes states back to their own slots, detached; dead and non-finite ones become the exact seed with age 0.

        Args:
            index: (n,) integer, unique: the slots, as `sample` returned them.
            new_states: (n,C,D,H,W) floating; stored as float32.
            steps: how many steps the states evolved: one number or (n,).
            fresh: bool (n,); True where the evolution began at the seed, so that the age counts from there.
            ages: (n,) integer, the ages to store, instead of `steps` and `fresh`.
            labels: (n,) integer, which body each is to become from now on; None = the same as before.

        Returns:
            How many states of this call were replaced by the seed, `{"dead": int, "non_finite": int}`.

        Raises:
            ValueError: index, shapes or dtypes don't fit; nothing is written then.
        """
        index = self._check_index(index)
        n, device = len(index), self.states.device
        if _shape(new_states) != (n, *self.seed.shape):
            _refuse("new_states", _shape(new_states), str((n, *self.seed.shape)))
        if not new_states.is_floating_point():
            _refuse("new_states", str(new_states.dtype), "a floating dtype")
        if ages is not None and (fresh is not None or not isinstance(steps, int) or steps):
            _refuse("ages", "ages together with steps or fresh", "one of the two")
        new_age = self.age[index] if ages is None else _whole("ages", ages, n, device)
        if ages is None:
            if fresh is not None:
                if _shape(fresh) != (n,) or fresh.dtype != torch.bool:
                    _refuse("fresh", f"{_shape(fresh)} {getattr(fresh, 'dtype', '')}".strip(), f"bool ({n},)")
                new_age = new_age.masked_fill(fresh.to(device), 0)
            new_age = new_age + _whole("steps", steps, n, device)
        seeds = self.seed
        if self.labelled:
            where = index.cpu()
            label = self.label[where] if labels is None else _whole("labels", labels, n, torch.device("cpu"))
            if int(label.max()) >= len(self.seeds):
                _refuse("labels", int(label.max()), f"0..{len(self.seeds) - 1}")
            self.label[where], seeds = label, self.seeds[label.to(device)]

        # Cast first: a large float64 can become infinite in float32.
        new = new_states.detach().to(self.states)
        non_finite = ~new.flatten(1).isfinite().all(dim=1)
        dead = (new == self.dead_value).flatten(1).all(dim=1)
        # Such a state would never teach anything again: nothing grows from it.
        lost = dead | non_finite
        self.states[index] = torch.where(lost.view(-1, 1, 1, 1, 1), seeds, new)
        self.age[index] = new_age.masked_fill(lost, 0)
        counts = {"dead": int(dead.sum()), "non_finite": int(non_finite.sum())}
        # Counted for the log: many seeds in a row mean that the rule kills what it grows.
        for reason, count in counts.items():
            self.reseeded[reason] += count
        return counts

    def state(self, slot: int) -> Tensor:
        """Returns the state (C,D,H,W) of a slot, 0..N-1."""
        return self.states[slot]

    def reseed(self, slots: Sequence[int]) -> None:
        """Starts slots again from the seed of their bodies, with age 0."""
        if slots:
            index = torch.tensor(list(slots), device=self.states.device)
            self.states[index] = self.seeds[self.label[index.cpu()].to(self.seeds.device)]
            self.age[index] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Returns a copy of all that a resumed run needs, as one flat dict of tensors (law 11)."""
        counts = {f"reseeded_{reason}": torch.tensor(count) for reason, count in self.reseeded.items()}
        slots = {"states": self.states.clone(), "age": self.age.clone()}
        # A pool of one body is saved as it always was.
        slots |= {"seeds": self.seeds.clone(), "label": self.label.clone()} if self.labelled else {"seed": self.seed.clone()}
        return {**slots, **counts, "generator": self.generator.get_state()}

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Continues exactly where `state_dict` was taken: the next sample is the same, bit for bit.

        Args:
            saved: what `state_dict` returned.

        Raises:
            ValueError: a key, shape, dtype or value doesn't fit, and the message names it; the pool is unchanged then.
        """
        # Compared with the pool's own state: another size or lattice would fit no slot.
        own = self.state_dict()
        if unlike := sorted(set(saved) ^ set(own)):
            _refuse(unlike[0], "no such key" if unlike[0] in own else "an unknown key", "the keys " + ", ".join(own))
        # All is checked before anything is changed.
        for field, value in own.items():
            new = saved[field]
            if _shape(new) != tuple(value.shape) or new.dtype != value.dtype:
                _refuse(field, f"{_shape(new)} {getattr(new, 'dtype', '')}".strip(), f"{tuple(value.shape)} {value.dtype}")
            if field in ("states", "seed", "seeds"):
                _check_values(field, new)
            elif field != "generator" and bool((new < 0).any()):
                _refuse(field, "a negative number", "0 or more")
            elif field == "label" and bool((new >= len(self.seeds)).any()):
                _refuse(field, f"{int(new.max())}", f"0 .. {len(self.seeds) - 1}")
        # The generator comes first: whether its bytes are a state shows only when they are set.
        try:
            self.generator.set_state(saved["generator"].cpu())
        except RuntimeError:
            self.generator.set_state(own["generator"])
            _refuse("generator", "bytes that are no generator state", "what state_dict gave")
        for field in ("states", "age", *(("seeds", "label") if self.labelled else ("seed",))):
            getattr(self, field).copy_(saved[field])
        self.reseeded = {reason: int(saved[f"reseeded_{reason}"]) for reason in REASONS}

    def _check_index(self, index: Tensor) -> Tensor:
        """Returns the slots as int64 (n,) on the pool's device, once they are known to be unique and within the pool."""
        # Slots may come from NumPy or a list.
        index = torch.as_tensor(index, device=self.states.device)
        if index.ndim != 1 or not len(index) or index.is_floating_point() or index.dtype == torch.bool:
            _refuse("index", f"{_shape(index)} {index.dtype}", "integer (n,), n at least 1")
        if int(index.min()) < 0 or int(index.max()) >= len(self):
            _refuse("index", f"{int(index.min())}..{int(index.max())}", f"0..{len(self) - 1}")
        if len(index.unique()) != len(index):
            _refuse("index", "a slot twice", "unique slots")
        return index.long()


def draw_slots(label: Tensor, bodies: int, n: int, generator: torch.Generator) -> Tensor:
    """Draws `n` different slots of a pool, int64 (n,), as `StatePool.sample` says.

    Args:
        label: Which body each slot is to become, int64 (N,) on the CPU.
        bodies: How many bodies there are; 0 = slots are drawn without looking at that.
        n: How many, 1..N.
        generator: Draws them.
    """
    # A permutation, not n independent draws: two samples of one slot would overwrite each other.
    drawn = torch.randperm(len(label), generator=generator, device=generator.device)
    if not bodies:
        return drawn[:n]
    wanted = torch.randperm(bodies, generator=generator, device=generator.device).tolist()
    order = wanted[: max(1, n // 2)]
    own: dict[int, list[int]] = {body: [] for body in wanted}
    for slot in drawn.tolist():
        own[int(label[slot])].append(slot)
    taken: dict[int, list[int]] = {body: [] for body in wanted}
    # In turns, the drawn bodies first; the others only where these have no slot left.
    for turn in (order, wanted):
        while n and any(own[body] for body in turn):
            for body in turn:
                if n and own[body]:
                    taken[body].append(own[body].pop(0))
                    n -= 1
    # The states of a body side by side.
    return torch.tensor([slot for body in wanted for slot in taken[body]], device=drawn.device)


def prepare(
    states: Tensor,
    losses: Tensor | Sequence[float],
    *,
    seed: Tensor | None,
    damage: Damage | None = None,
    damage_count: int = 0,
    body: int | Callable[[Tensor], Tensor] = 3,
    generator: torch.Generator | None = None,
    dead_value: float = 0.0,
    own: Sequence[int] | None = None,
    gather: Callable[[Tensor, list[int]], Tensor] | None = None,
) -> Prepared:
    """Returns a sampled batch with its worst state replaced by the seed and its best states damaged (law 9).

    The order of the batch stays, so that each state goes back to its own slot. The input is not changed.
    Source: Mordvintsev et al. 2020, "Growing Neural Cellular Automata", experiments 2 and 3.

    Args:
        states: (n,C,D,H,W), as sampled.
        losses: (n,), how bad each state is; a non-finite loss is the worst, equal losses rank in the order of the batch.
        seed: (C,D,H,W), the exact seed state; None = no state is replaced this time.
        damage: (bodies bool (k,D,H,W), generator) -> bool (k,1,D,H,W), such as `pools.damage.mixture(names)`.
        damage_count: k, how many of the best states to damage: 0..n-1, since the fresh seed is never damaged.
        body: index of the alpha channel (a cell of the body has alpha > 0.1), or a function of the states
            (k,C,D,H,W) -> bool (k,D,H,W).
        generator: is passed to `damage`.
        dead_value: the value of destroyed cells, in all channels.
        own: where a batch lies in several processes, the numbers 0..n-1 of the samples that `states` has, rising; `losses` has
            those of all n. None = `states` has all.
        gather: returns the bodies bool (k,D,H,W) of the samples whose numbers are given, in that order, from those of this
            process, in the same order.

    Raises:
        ValueError: shapes, counts or masks don't fit.
    """
    n = len(states) if isinstance(states, Tensor) and states.ndim == 5 else 0
    if own is not None and n == len(own):
        n = len(losses)
    if not n:
        _refuse("states", _shape(states), "(n,C,D,H,W), n at least 1")
    if seed is not None and _shape(seed) != tuple(states.shape[1:]):
        _refuse("seed", _shape(seed), f"(C,D,H,W) = {tuple(states.shape[1:])}")
    # The pool is no part of the graph: ranking must not hold on to it.
    losses = torch.as_tensor(losses, device=states.device).detach()
    if losses.shape != (n,):
        _refuse("losses", _shape(losses), f"({n},)")
    if not 0 <= damage_count < n or (damage_count and damage is None):
        _refuse("damage_count", damage_count, "0 without a damage" if damage is None else f"0..{n - 1}")

    # The worst makes room for a fresh seed, so that growing is not forgotten. The best are damaged: a body that is not grown
    # yet has nothing to regenerate. A stable sort, so that equal losses rank alike on every machine.
    ranked = torch.where(losses.isfinite(), losses.double(), torch.inf).argsort(stable=True)
    worst, best = int(ranked[-1]), ranked[:damage_count].tolist()
    place = {number: row for row, number in enumerate(range(n) if own is None else own)}
    prepared = states.detach().clone()
    fresh, damaged = torch.zeros(2, len(prepared), dtype=torch.bool, device=states.device)
    if seed is not None and worst in place:
        prepared[place[worst]] = seed.to(prepared)
        fresh[place[worst]] = True
    if damage is not None and damage_count:
        rows = [place[number] for number in best if number in place]
        whole = prepared[rows]
        bodies = body(whole) if callable(body) else whole[:, body] > damages.ALIVE_THRESHOLD
        # All of them, so that each process draws the same wounds.
        masks = damage(bodies if gather is None else gather(bodies, best), generator)
        if rows:
            mine = [number for number, sample in enumerate(best) if sample in place]
            prepared[rows] = damages.apply(whole, masks[mine], dead_value)
        damaged[rows] = True
    return Prepared(prepared, fresh, damaged)


def _whole(field: str, values: int | Tensor, n: int, device: torch.device) -> Tensor:
    """Returns checked whole numbers from 0 as int64 (n,)."""
    numbers = torch.as_tensor(values, device=device)
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.shape not in ((), (n,)):
        _refuse(field, f"{_shape(numbers)} {numbers.dtype}", f"a whole number or integer ({n},)")
    if bool((numbers < 0).any()):
        _refuse(field, int(numbers.min()), "0 or more")
    return numbers.long().expand(n)


def _check_values(field: str, values: Tensor) -> None:
    if values.dtype != torch.float32:
        _refuse(field, str(values.dtype), "torch.float32")
    if not bool(values.isfinite().all()):
        _refuse(field, f"{int((~values.isfinite()).sum())} non-finite values", "finite values")


def _shape(values: object) -> tuple[int, ...] | str:
    """Returns the shape of a tensor, or the type of anything else, for comparisons and messages."""
    return tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__


def _refuse(field: str, found: object, allowed: str) -> NoReturn:
    raise ArgumentError("pool", field, found, allowed)
