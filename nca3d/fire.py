"""Fire masks: which cells update in a step. There is no generator with a state: each draw is a pure function of four numbers.

So a rollout can be cut, resumed, split over devices or run cell by cell, and every cell still fires in the same steps.

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

# The constants of MurmurHash3_x86_32: those that mix each word in, and those that stir the result at the end.
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
    """Rotates the bits of int32 numbers to the left."""
    return (x << bits) | _shift_right(x, 32 - bits)


def draws(random_seed: int, steps: Tensor, sample_ids: Tensor, cells: Tensor) -> Tensor:
    """Returns the draws of cells: 32-bit numbers, unsigned, with their bits in int32.

    Args:
        random_seed: The seed of the rollout, 0 .. 2³²−1.
        steps: Absolute step numbers, int32 or int64 of any shape. These and the next two broadcast together, and only the low
            32 bits of each number count.
        sample_ids: Which sample a cell belongs to, int32 or int64 of any shape.
        cells: Flat indices (d·H + h)·W + w within the lattice, int32 or int64 of any shape.

    Returns:
        The draws, int32 (…,) of the broadcast shape.
    """
    h = torch.full((), _signed(random_seed), dtype=torch.int32, device=cells.device)
    # The cell comes last: what is hashed before it is one number for each step and sample, so only `cells` costs.
    for words in (steps, sample_ids, cells):
        k = words.to(device=cells.device, dtype=torch.int32) * _signed(_C1)
        k = _rotate(k, 15) * _signed(_C2)
        h = _rotate(h ^ k, 13) * 5 + _signed(_N)
    h = h ^ 12  # the length of the message in bytes: three words
    # The finish spreads each bit over all 32, so that neighbouring cells have nothing in common.
    h = (h ^ _shift_right(h, 16)) * _signed(_F1)
    h = (h ^ _shift_right(h, 13)) * _signed(_F2)
    return h ^ _shift_right(h, 16)


def fire_mask(
    random_seed: int, step: int | Sequence[int], sample_ids: Tensor | Sequence[int], size: Size, fire_rate: float
) -> Tensor:
    """Returns which cells update in a step (law 4): the same for every executor, device, batch split and number of processes.

    Args:
        random_seed: The seed of the rollout, 0 .. 2³²−1.
        step: The absolute number of the step, 0 .. 2³²−1; or several of them.
        sample_ids: A number for each sample, int (B,), which stays with it wherever it stands in a batch.
        size: The lattice (D, H, W).
        fire_rate: The probability that a cell updates, 0 .. 1.

    Returns:
        The mask, bool (B, 1, D, H, W), True = updates; for several steps (T, B, 1, D, H, W). On the device of `sample_ids`.

    Raises:
        ValueError: A seed, step, size or rate is out of range.
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
    # 2³² itself is no 32-bit number, so the ends of the range need no draw: never, or always.
    if below in (0, _WORD):
        fire = torch.full(shape, below == _WORD, dtype=torch.bool, device=ids.device)
    else:
        words = torch.tensor([_signed(s) for s in steps], dtype=torch.int32, device=ids.device)
        cells = torch.arange(depth * height * width, dtype=torch.int32, device=ids.device)
        fire = _below(draws(random_seed, words[:, None, None], _low_word(ids)[:, None], cells), below).view(shape)
    return fire[0] if one_step else fire


@dataclass(frozen=True)
class Draw:
    """Which cells fire in the steps 0, 1, … of one rollout, for all cells or for some: drawn, or read from the caller's masks.

    Args:
        random_seed: The seed of the rollout, as in `fire_mask`.
        first_step: The absolute number of step 0.
        sample_ids: A number for each sample, int (B,).
        size: The lattice (D, H, W).
        fire_rate: The probability that a cell updates, 0 .. 1.
        steps: The number of steps.
        given_masks: Masks instead of the draw, bool (steps, B, 1, D, H, W), on the device of `sample_ids`; None = draw.

    Raises:
        ValueError: A seed or step is out of range.
    """

    random_seed: int
    first_step: int
    sample_ids: Tensor
    size: Size
    fire_rate: float
    steps: int
    given_masks: Tensor | None = None

    def __post_init__(self) -> None:
        # Given masks need no seed: whoever brings them may leave it at anything.
        if self.given_masks is None:
            check_seed(self.random_seed)
            _check_steps((self.first_step, self.first_step + max(0, self.steps - 1)))

    @property
    def below(self) -> int:
        """The bound, 0 .. 2³²: a cell fires when its draw, 0 .. 2³²−1, is below it."""
        return round(self.fire_rate * _WORD)

    def only(self, samples: range | Sequence[int]) -> "Draw":
        """Returns the same draw for some samples of the batch, in the order that is given."""
        if samples == range(len(self.sample_ids)):
            return self
        # A range stays a view: masks may be large.
        part = slice(samples.start, samples.stop) if isinstance(samples, range) else list(samples)
        masks = None if self.given_masks is None else self.given_masks[:, part]
        return replace(self, sample_ids=self.sample_ids[part], given_masks=masks)

    def masks(self, start: int, stop: int) -> Tensor:
        """Returns the masks of steps start .. stop−1 for every cell of the lattice, bool (stop − start, B, D, H, W)."""
        if self.given_masks is not None:
            return self.given_masks[start:stop, :, 0]
        numbers = range(self.first_step + start, self.first_step + stop)
        return fire_mask(self.random_seed, numbers, self.sample_ids, self.size, self.fire_rate)[:, :, 0]

    def at(self, step: int, cells: Tensor) -> Tensor:
        """Returns which of some cells fire in one step, bool (n,).

        Args:
            step: The step, counted from 0.
            cells: Flat indices over batch and lattice, int64 (n,).
        """
        if self.given_masks is not None:
            return self.given_masks[step].flatten()[cells]
        if self.below == _WORD:  # always: see `fire_mask`
            return torch.ones_like(cells, dtype=torch.bool)
        depth, height, width = self.size
        volume = depth * height * width
        ids = _low_word(self.sample_ids)[cells // volume]
        number = torch.full((), _signed(self.first_step + step), dtype=torch.int32, device=cells.device)
        return _below(draws(self.random_seed, number, ids, cells % volume), self.below)

    def words(self) -> Tensor:
        """Returns the sample ids as the hash takes them: their low 32 bits, int32 (B,)."""
        return _low_word(self.sample_ids)


def check_seed(random_seed: int) -> None:
    """Checks that a seed is a 32-bit number.

    Raises:
        ValueError: It is not; the line says what is allowed.
    """
    if not hasattr(random_seed, "__index__") or not 0 <= random_seed < _WORD:
        raise ArgumentError("random_seed", random_seed, "0 .. 2**32 - 1")


def _check_steps(steps: Sequence[int]) -> None:
    if any(not 0 <= step < _WORD for step in steps):
        raise ArgumentError("step", f"{min(steps)} .. {max(steps)}", "0 .. 2**32 - 1")


def _below(draw: Tensor, bound: int) -> Tensor:
    """Returns whether unsigned 32-bit draws are below a bound, 0 .. 2³²−1."""
    # Flipping the sign bit turns the order of unsigned numbers into that of signed ones, which torch compares.
    return (draw ^ _signed(1 << 31)) < bound - (1 << 31)


def _low_word(ids: Tensor) -> Tensor:
    """Returns the low 32 bits of each id, as int32."""
    # By arithmetic: what a cast does with ids beyond 2³¹ differs between devices.
    return (((ids.to(torch.int64) + (1 << 31)) % _WORD) - (1 << 31)).to(torch.int32)


def training_seed(run_seed: int, iteration: int) -> int:
    """Returns the random_seed of one training iteration: a new one for each, always below 2³¹."""
    # Half of all seeds for training, the other half for evaluation: a rule is never judged on the masks that it has met.
    return _derived(run_seed, iteration) & 0x7FFFFFFF


def evaluation_seed(run_seed: int, trial: int) -> int:
    """Returns the random_seed of one evaluation: always 2³¹ or above, so that it is never one of training."""
    return _derived(run_seed, trial) | 0x80000000


def _derived(run_seed: int, count: int) -> int:
    """Returns a 32-bit seed from the seed of a run and a count, by the same hash as the draws."""
    one = torch.zeros((), dtype=torch.int32)
    return int(draws(run_seed % _WORD, one + _signed(count), one, one)) % _WORD
