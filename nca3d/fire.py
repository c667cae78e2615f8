"""Fire masks by counting, not by state: which cells update in a step is a pure function of four numbers.

The draw of one cell is MurmurHash3_x86_32 (Appleby 2011, public domain) of the three little-endian 32-bit words
(step, sample id, cell index), seeded with `random_seed`; the cell fires when the draw, an unsigned 32-bit integer, is below
fire_rate · 2³². Cell index = (d·H + h)·W + w. In C, with 32-bit unsigned arithmetic that wraps:

    h = random_seed
    for k in (step, sample_id, cell):
        k *= 0xcc9e2d51;  k = rotl(k, 15);  k *= 0x1b873593
        h ^= k;           h = rotl(h, 13);  h = h * 5 + 0xe6546b64
    h ^= 12
    h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16

Golden values: draw(0, 0, 0, 0) = 0xd941144b, draw(1, 2, 3, 4) = 0xd4b33233, draw(2³²−1, 2³²−1, 2³²−1, 2³²−1) = 0x906fb002
(arguments: random_seed, step, sample id, cell index).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import index

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.lattice import Size, as_size

# The constants of MurmurHash3_x86_32: of its body, and of its finish.
_C1, _C2, _N = 0xCC9E2D51, 0x1B873593, 0xE6546B64
_F1, _F2 = 0x85EBCA6B, 0xC2B2AE35
_WORD = 1 << 32  # how many numbers 32 bits hold


def _signed(word: int) -> int:
    """Returns the int32 with the same bits: torch multiplies int32 with wrap-around, which is all that the hash needs."""
    word %= _WORD
    return word - _WORD if word >= _WORD // 2 else word


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shifts logically: torch's own is arithmetic on int32, so the copied sign bits are cleared."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _rotate(x: Tensor, bits: int) -> Tensor:
    return (x << bits) | _shift_right(x, 32 - bits)


def draws(random_seed: int, steps: Tensor, sample_ids: Tensor, cells: Tensor) -> Tensor:
    """Returns the 32-bit draws of cells, as int32 with the bits of the unsigned number.

    Args:
        random_seed: 0 .. 2³²−1.
        steps: int32 or int64 of any shape; this and the next two broadcast together, and their low 32 bits count.
        sample_ids: int32 or int64.
        cells: int32 or int64, flat indices (d·H + h)·W + w within the lattice.

    Returns:
        int32 of the broadcast shape.
    """
    h = torch.full((), _signed(random_seed), dtype=torch.int32, device=cells.device)
    for words in (steps, sample_ids, cells):  # broadcasting keeps the outer words small: only `cells` costs
        k = words.to(device=cells.device, dtype=torch.int32) * _signed(_C1)
        k = _rotate(k, 15) * _signed(_C2)
        h = _rotate(h ^ k, 13) * 5 + _signed(_N)
    h = h ^ 12  # the length of the message in bytes
    h = (h ^ _shift_right(h, 16)) * _signed(_F1)
    h = (h ^ _shift_right(h, 13)) * _signed(_F2)
    return h ^ _shift_right(h, 16)


def fire_mask(
    random_seed: int, step: int | Sequence[int], sample_ids: Tensor | Sequence[int], size: Size, fire_rate: float
) -> Tensor:
    """Draws which cells update in a step (law 4): the same on every executor, device, batch split and number of processes.

    Args:
        random_seed: 0 .. 2³²−1.
        step: absolute number of the step, 0 .. 2³²−1; or several of them.
        sample_ids: int (B,), who each sample is, whatever its place in the batch.
        size: lattice (D, H, W).
        fire_rate: probability that a cell updates, 0 .. 1.

    Returns:
        bool (B, 1, D, H, W), True = updates; with several steps (T, B, 1, D, H, W). On the device of `sample_ids`.

    Raises:
        ValueError: a seed, step, size or rate out of range.
    """
    check_seed(random_seed)
    if not 0.0 <= fire_rate <= 1.0:
        raise ArgumentError("fire_rate", fire_rate, "0 .. 1")
    depth, height, width = as_size(size)
    one_step = hasattr(step, "__index__") and getattr(step, "ndim", 0) == 0
    steps = [index(step)] if one_step else [index(s) for s in step]  # type: ignore[arg-type, union-attr]
    _check_steps(steps)
    ids = torch.as_tensor(sample_ids)
    if ids.ndim != 1 or ids.is_floating_point():
        raise ArgumentError("sample_ids", f"{ids.dtype} {tuple(ids.shape)}", "whole numbers (B,)")

    below = round(fire_rate * _WORD)
    shape = (len(steps), len(ids), 1, depth, height, width)
    if below in (0, _WORD):
        fire = torch.full(shape, below == _WORD, dtype=torch.bool, device=ids.device)
    else:
        words = torch.tensor([_signed(s) for s in steps], dtype=torch.int32, device=ids.device)
        cells = torch.arange(depth * height * width, dtype=torch.int32, device=ids.device)
        fire = _below(draws(random_seed, words[:, None, None], _low_word(ids)[:, None], cells), below).view(shape)
    return fire[0] if one_step else fire


@dataclass(frozen=True)
class Draw:
    """Which cells fire in the steps 0, 1, … of one rollout: drawn when asked for, or looked up in masks that the caller gave.

    Args:
        random_seed: as in `fire_mask`.
        fire_rate: as in `fire_mask`.
        first_step: absolute number of step 0.
        sample_ids: int (B,).
        size: lattice (D, H, W).
        steps: how many.
        given_masks: bool (steps, B, 1, D, H, W) instead of the draw, on the device of `sample_ids`.

    Raises:
        ValueError: a seed or step out of range.
    """

    random_seed: int
    first_step: int
    sample_ids: Tensor
    size: Size
    fire_rate: float
    steps: int
    given_masks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.given_masks is None:
            check_seed(self.random_seed)
            _check_steps((self.first_step, self.first_step + max(0, self.steps - 1)))

    @property
    def below(self) -> int:
        """The bound, 0 .. 2³²: a cell fires when its draw, 0 .. 2³²−1, is below it."""
        return round(self.fire_rate * _WORD)

    def only(self, samples: range) -> "Draw":
        """Returns the same draw for some neighbouring samples of the batch."""
        if len(samples) == len(self.sample_ids):
            return self
        part = slice(samples.start, samples.stop)
        given = None if self.given_masks is None else self.given_masks[:, part]
        return replace(self, sample_ids=self.sample_ids[part], given_masks=given)

    def masks(self, start: int, stop: int) -> Tensor:
        """Returns the masks of steps start .. stop−1 for every cell of the lattice, bool (stop − start, B, D, H, W)."""
        if self.given_masks is not None:
            return self.given_masks[start:stop, :, 0]
        numbers = range(self.first_step + start, self.first_step + stop)
        return fire_mask(self.random_seed, numbers, self.sample_ids, self.size, self.fire_rate)[:, :, 0]

    def at(self, step: int, cells: Tensor) -> Tensor:
        """Returns whether cells, int64 (n,) flat indices over batch and lattice, fire in one step, bool (n,)."""
        if self.given_masks is not None:
            return self.given_masks[step].flatten()[cells]
        if self.below == _WORD:
            return torch.ones_like(cells, dtype=torch.bool)
        depth, height, width = self.size
        volume = depth * height * width
        ids = _low_word(self.sample_ids)[cells // volume]
        number = torch.full((), _signed(self.first_step + step), dtype=torch.int32, device=cells.device)
        return _below(draws(self.random_seed, number, ids, cells % volume), self.below)

    def words(self) -> Tensor:
        """Returns the sample ids as the hash takes them, int32 (B,)."""
        return _low_word(self.sample_ids)


def check_seed(random_seed: int) -> None:
    """Refuses a seed that is no 32-bit number.

    Raises:
        ValueError: the line says what is allowed.
    """
    if not hasattr(random_seed, "__index__") or not 0 <= random_seed < _WORD:
        raise ArgumentError("random_seed", random_seed, "0 .. 2**32 - 1")


def _check_steps(steps: Sequence[int]) -> None:
    if any(not 0 <= step < _WORD for step in steps):
        raise ArgumentError("step", f"{min(steps)} .. {max(steps)}", "0 .. 2**32 - 1")


def _below(draw: Tensor, bound: int) -> Tensor:
    """Compares unsigned numbers: flipping the sign bit turns the order of unsigned numbers into that of signed ones."""
    return (draw ^ _signed(1 << 31)) < bound - (1 << 31)


def _low_word(ids: Tensor) -> Tensor:
    """Returns the low 32 bits of each id, so that ids beyond 2³¹ wrap instead of depending on how a cast overflows."""
    return (((ids.to(torch.int64) + (1 << 31)) % _WORD) - (1 << 31)).to(torch.int32)


def training_seed(run_seed: int, iteration: int) -> int:
    """The random_seed of one training iteration: fresh for each, always below 2³¹."""
    return _derived(run_seed, iteration) & 0x7FFFFFFF


def evaluation_seed(run_seed: int, trial: int) -> int:
    """The random_seed of one evaluation: always 2³¹ or above, so that it never meets a training seed."""
    return _derived(run_seed, trial) | 0x80000000


def _derived(run_seed: int, count: int) -> int:
    one = torch.zeros((), dtype=torch.int32)
    return int(draws(run_seed % _WORD, one + _signed(count), one, one)) % _WORD
