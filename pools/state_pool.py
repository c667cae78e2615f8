"""A pool of evolved states (Mordvintsev et al. 2020): sample, evolve, write each back to its own slot (law 9)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from pools import damage as damages
from pools.errors import ArgumentError

Damage = Callable[[Tensor, torch.Generator | None], Tensor]
REASONS = ("dead", "non_finite")


@dataclass(frozen=True, eq=False)
class Batch:
    """A sample of a pool: `.index (n,)` int64 unique slots, `.states (n,C,D,H,W)` a copy, `.age (n,)` steps."""

    index: Tensor
    states: Tensor
    age: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch ready to be evolved, in the order it came: `.states (n,C,D,H,W)`, `.fresh` and `.damaged` bool (n,)."""

    states: Tensor
    fresh: Tensor
    damaged: Tensor


class StatePool:
    """States that training returns to, each in its own slot.

    Args:
        states: (N,C,D,H,W) float32, finite; copied.
        generator: draws the samples and nothing else; default a fresh CPU generator seeded with 0.
        seed: (C,D,H,W), the exact state that dead and non-finite cubes start again from; default a copy of `states[0]`.
        dead_value: what every value of a dead cube equals.

    Attributes:
        states: (N,C,D,H,W) float32.
        age: (N,) int64, steps since the slot's seed.
        seed: (C,D,H,W) float32.
        reseeded: how many cubes were replaced by the seed so far, `{"dead": int, "non_finite": int}`.

    Raises:
        ValueError: a shape, dtype or value that can't be used.
    """

    def __init__(
        self, states: Tensor, *, generator: torch.Generator | None = None, seed: Tensor | None = None, dead_value: float = 0.0
    ) -> None:
        if not isinstance(states, Tensor) or states.ndim != 5 or not states.numel():
            _refuse("states", _shape(states), "(N,C,D,H,W), none of them 0")
        seed = states[0] if seed is None else seed
        if _shape(seed) != tuple(states.shape[1:]):
            _refuse("seed", _shape(seed), f"(C,D,H,W) = {tuple(states.shape[1:])}")
        for field, values in (("states", states), ("seed", seed)):
            _check_values(field, values)
        self.states = states.detach().clone(memory_format=torch.contiguous_format)
        self.seed = seed.detach().to(self.states.device).clone(memory_format=torch.contiguous_format)
        self.age = torch.zeros(len(states), dtype=torch.int64, device=states.device)
        self.reseeded = dict.fromkeys(REASONS, 0)
        self.dead_value = float(dead_value)
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def __len__(self) -> int:
        return len(self.states)

    def sample(self, n: int) -> Batch:
        """`n` different slots, every one as likely as any other.

        Raises:
            ValueError: `n` below 1 or beyond the pool's size.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(self):
            _refuse("sample", repr(n), f"1..{len(self)} (the pool's size)")
        # A permutation, not n independent draws: two samples of one slot would overwrite each other.
        index = torch.randperm(len(self), generator=self.generator, device=self.generator.device)[:n]
        index = index.to(self.states.device)
        return Batch(index, self.states[index], self.age[index])

    def replace(
        self,
        index: Tensor,
        new_states: Tensor,
        *,
        steps: int | Tensor = 0,
        fresh: Tensor | None = None,
        ages: Tensor | None = None,
    ) -> dict[str, int]:
        """Writes states back to their own slots, detached; dead and non-finite cubes become the exact seed, age 0.

        Args:
            index: (n,) integer, unique: the slots, as `sample` gave them.
            new_states: (n,C,D,H,W) floating; stored as float32.
            steps: how many steps the states evolved: one number or (n,).
            fresh: bool (n,); True where the evolution began at the seed, so that the age counts from there.
            ages: (n,) integer, the ages to write as they are, instead of `steps` and `fresh`.

        Returns:
            How many cubes of this call were reseeded, `{"dead": int, "non_finite": int}`.

        Raises:
            ValueError: index, shapes or dtypes that don't fit; nothing is written then.
        """
        index = self._check_index(index)
        n, device = len(index), self.states.device
        if _shape(new_states) != (n, *self.seed.shape):
            _refuse("new_states", _shape(new_states), str((n, *self.seed.shape)))
        if not new_states.is_floating_point():
            _refuse("new_states", str(new_states.dtype), "a floating dtype")
        if ages is not None and (fresh is not None or not isinstance(steps, int) or steps):
            _refuse("ages", "ages together with steps or fresh", "one of the two")
        aged = self.age[index] if ages is None else _whole("ages", ages, n, device)
        if ages is None:
            if fresh is not None:
                if _shape(fresh) != (n,) or fresh.dtype != torch.bool:
                    _refuse("fresh", f"{_shape(fresh)} {getattr(fresh, 'dtype', '')}".strip(), f"bool ({n},)")
                aged = aged.masked_fill(fresh.to(device), 0)
            aged = aged + _whole("steps", steps, n, device)

        # Cast first: a large float64 can become infinite in float32.
        new = new_states.detach().to(self.states)
        non_finite = ~new.flatten(1).isfinite().all(dim=1)
        dead = (new == self.dead_value).flatten(1).all(dim=1)
        gone = dead | non_finite
        self.states[index] = torch.where(gone.view(-1, 1, 1, 1, 1), self.seed, new)
        self.age[index] = aged.masked_fill(gone, 0)
        counts = {"dead": int(dead.sum()), "non_finite": int(non_finite.sum())}
        for reason, count in counts.items():
            self.reseeded[reason] += count
        return counts

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that a resumed run needs, flat, tensors only (law 11)."""
        counts = {f"reseeded_{reason}": torch.tensor(count) for reason, count in self.reseeded.items()}
        held = {"states": self.states.clone(), "age": self.age.clone(), "seed": self.seed.clone()}
        return {**held, **counts, "generator": self.generator.get_state()}

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Goes on exactly where `state_dict` was taken: the next sample is the same, bit for bit.

        Raises:
            ValueError: a key, shape, dtype or value that doesn't fit, named; the pool is as before then.
        """
        own = self.state_dict()
        if unlike := sorted(set(saved) ^ set(own)):
            _refuse(unlike[0], "no such key" if unlike[0] in own else "an unknown key", "the keys " + ", ".join(own))
        for field, value in own.items():
            found = saved[field]
            if _shape(found) != tuple(value.shape) or found.dtype != value.dtype:
                _refuse(field, f"{_shape(found)} {getattr(found, 'dtype', '')}".strip(), f"{tuple(value.shape)} {value.dtype}")
            if field in ("states", "seed"):
                _check_values(field, found)
            elif field != "generator" and bool((found < 0).any()):
                _refuse(field, "a negative number", "0 or more")
        try:
            self.generator.set_state(saved["generator"].cpu())
        except RuntimeError:
            self.generator.set_state(own["generator"])
            _refuse("generator", "bytes that are no generator state", "what state_dict gave")
        for field in ("states", "age", "seed"):
            getattr(self, field).copy_(saved[field])
        self.reseeded = {reason: int(saved[f"reseeded_{reason}"]) for reason in REASONS}

    def _check_index(self, index: Tensor) -> Tensor:
        index = torch.as_tensor(index, device=self.states.device)
        if index.ndim != 1 or not len(index) or index.is_floating_point() or index.dtype == torch.bool:
            _refuse("index", f"{_shape(index)} {index.dtype}", "integer (n,), n at least 1")
        if int(index.min()) < 0 or int(index.max()) >= len(self):
            _refuse("index", f"{int(index.min())}..{int(index.max())}", f"0..{len(self) - 1}")
        if len(index.unique()) != len(index):
            _refuse("index", "a slot twice", "unique slots")
        return index.long()


def prepare(
    states: Tensor,
    losses: Tensor | Sequence[float],
    *,
    seed: Tensor,
    damage: Damage | None = None,
    damage_count: int = 0,
    body: int | Callable[[Tensor], Tensor] = 3,
    generator: torch.Generator | None = None,
    dead_value: float = 0.0,
) -> Prepared:
    """The sampled batch with its worst state replaced by the seed and its best ones damaged (law 9).

    The order of the batch stays, so that each state goes back to its own slot. The input is not changed.
    Source: Mordvintsev et al. 2020, "Growing Neural Cellular Automata", experiments 2 and 3.

    Args:
        states: (n,C,D,H,W), as sampled.
        losses: (n,), how bad each is; a non-finite loss is the worst of all, equal losses rank in order.
        seed: (C,D,H,W), the exact seed state.
        damage: (bodies bool (k,D,H,W), generator) -> bool (k,1,D,H,W), such as `pools.damage.mixture(names)`.
        damage_count: k, how many of the best to damage: 0..n-1, since the fresh seed is never damaged.
        body: the alpha channel's index (a cell of the body has alpha > 0.1), or a function of the states
            (k,C,D,H,W) -> bool (k,D,H,W).
        generator: handed to `damage`.
        dead_value: what destroyed cells are set to, in all channels.

    Raises:
        ValueError: shapes, counts or masks that don't fit.
    """
    n = len(states) if isinstance(states, Tensor) and states.ndim == 5 else 0
    if not n:
        _refuse("states", _shape(states), "(n,C,D,H,W), n at least 1")
    if _shape(seed) != tuple(states.shape[1:]):
        _refuse("seed", _shape(seed), f"(C,D,H,W) = {tuple(states.shape[1:])}")
    losses = torch.as_tensor(losses, device=states.device).detach()
    if losses.shape != (n,):
        _refuse("losses", _shape(losses), f"({n},)")
    if not 0 <= damage_count < n or (damage_count and damage is None):
        _refuse("damage_count", damage_count, "0 without a damage" if damage is None else f"0..{n - 1}")

    ranked = torch.where(losses.isfinite(), losses.double(), torch.inf).argsort(stable=True)
    worst, best = ranked[-1], ranked[:damage_count]
    ready = states.detach().clone()
    ready[worst] = seed.to(ready)
    if damage is not None and damage_count:
        hurt = ready[best]
        bodies = body(hurt) if callable(body) else hurt[:, body] > damages.ALIVE_THRESHOLD
        ready[best] = damages.apply(hurt, damage(bodies, generator), dead_value)
    fresh, damaged = torch.zeros(2, n, dtype=torch.bool, device=states.device)
    fresh[worst], damaged[best] = True, True
    return Prepared(ready, fresh, damaged)


def _whole(field: str, values: int | Tensor, n: int, device: torch.device) -> Tensor:
    """Whole numbers from 0 as int64 (n,)."""
    found = torch.as_tensor(values, device=device)
    if found.is_floating_point() or found.dtype == torch.bool or found.shape not in ((), (n,)):
        _refuse(field, f"{_shape(found)} {found.dtype}", f"a whole number or integer ({n},)")
    if bool((found < 0).any()):
        _refuse(field, int(found.min()), "0 or more")
    return found.long().expand(n)


def _check_values(field: str, values: Tensor) -> None:
    if values.dtype != torch.float32:
        _refuse(field, str(values.dtype), "torch.float32")
    if not bool(values.isfinite().all()):
        _refuse(field, f"{int((~values.isfinite()).sum())} non-finite values", "finite values")


def _shape(values: object) -> tuple[int, ...] | str:
    return tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__


def _refuse(field: str, found: object, allowed: str) -> NoReturn:
    raise ArgumentError("pool", field, found, allowed)
