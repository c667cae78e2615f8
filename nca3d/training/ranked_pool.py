"""A pool whose states lie with the processes that train together, each with a part of the slots.

Which slots come, and which body each is to become, all processes know and draw alike. A state is where it last ran.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import pools
from nca3d.ranks import Ranks, current
from nca3d.rules.cell import Rule
from nca3d.training.shares import Share


class RankedPool:
    """What `pools.StatePool` is, shared out; see there for what is not said here.

    Args:
        ranks: The processes.
        seeds: (L, C, D, H, W) float32, one for each body.
        label: int64 (N,), which body each slot is to become.
        generator: Draws the samples; equal on all ranks.
        dead_value: The value of all channels of a dead cell.
        labelled: Whether there are several bodies.

    Attributes:
        age: int64 (N,), of all slots, on the CPU.
        owner: The rank where each slot lies.
        rows: The states (C, D, H, W) of this process's slots, by slot.
    """

    def __init__(
        self, ranks: Ranks, seeds: Tensor, label: Tensor, generator: torch.Generator, dead_value: float, labelled: bool
    ) -> None:
        self.ranks, self.seeds, self.label, self.generator = ranks, seeds, label.clone(), generator
        self.dead_value, self.labelled = dead_value, labelled
        self.age = torch.zeros(len(label), dtype=torch.int64)
        self.reseeded = dict.fromkeys(pools.state_pool.REASONS, 0)
        self.owner = [rank for rank in range(ranks.size) for _ in ranks.share(len(label), rank)]
        self.rows = {slot: seeds[int(label[slot])].clone() for slot in ranks.share(len(label))}

    def __len__(self) -> int:
        return len(self.label)

    @property
    def seed(self) -> Tensor:
        """The seed (C, D, H, W) of the one body, or of the first of several."""
        return self.seeds[0]

    @property
    def states(self) -> Tensor:
        """The states of this process's slots, (n, C, D, H, W) in the order of slots; a copy."""
        own = [self.rows[slot] for slot in sorted(self.rows)]
        return torch.stack(own) if own else self.seeds[:0]

    def sample(self, n: int) -> tuple[pools.Batch, Share]:
        """Draws `n` different slots, as `StatePool.sample` does; all ranks draw the same.

        Returns:
            The sample, with the slots, ages and bodies of all, and the states of those that lie with this process; and which
            these are.
        """
        index = pools.state_pool.draw_slots(self.label, len(self.seeds) if self.labelled else 0, n, self.generator)
        slots = index.tolist()
        share = Share.of([self.owner[slot] for slot in slots], self.ranks)
        states = [self.rows[slots[place]] for place in share.places]
        own = torch.stack(states) if states else self.seeds[:0]
        return pools.Batch(index, own, self.age[index], self.label[index]), share

    def replace(
        self, index: Tensor, new_states: Tensor, share: Share, *, ages: Tensor, labels: Tensor | None = None
    ) -> dict[str, int]:
        """Writes states back to their own slots, as `StatePool.replace` does; a slot lies from now on with whom ran it.

        Args:
            index: The slots of the whole batch, int64 (B,).
            new_states: The states of this process's share, (n, C, D, H, W).
            share: What this process has run.
            ages: The ages to store, of the whole batch, int64 (B,).
            labels: Which body each is to become from now on, of the whole batch, int64 (B,); None = the same as before.

        Returns:
            How many states of the whole batch were replaced by the seed, by reason.
        """
        if labels is not None and self.labelled:
            self.label[index] = labels
        new = new_states.detach().to(self.seed)
        non_finite = ~new.flatten(1).isfinite().all(dim=1)
        dead = (new == self.dead_value).flatten(1).all(dim=1)
        for slot, rank in zip(index.tolist(), share.runner, strict=True):
            self.owner[slot] = rank
            if rank != self.ranks.rank:
                self.rows.pop(slot, None)
        for place, state, lost in zip(share.places, new, (dead | non_finite).tolist(), strict=True):
            slot = int(index[place])
            # A copy: a row of the batch would keep all of it in memory.
            self.rows[slot] = (self.seeds[int(self.label[slot])] if lost else state).clone()
        counted = share.whole(torch.stack([dead, non_finite], dim=1).cpu().to(torch.uint8)).bool()
        self.age[index] = ages.cpu().masked_fill(counted.any(dim=1), 0)
        counts = dict(zip(self.reseeded, counted.sum(dim=0).tolist(), strict=True))
        for reason, count in counts.items():
            self.reseeded[reason] += count
        return counts

    def state(self, slot: int) -> Tensor | None:
        """Returns the state (C, D, H, W) of a slot; None where another process has it."""
        return self.rows.get(slot)

    def reseed(self, slots: Sequence[int]) -> None:
        """Starts slots again from the seed; all ranks name the same."""
        for slot in slots:
            self.age[slot] = 0
            if slot in self.rows:
                self.rows[slot] = self.seeds[int(self.label[slot])].clone()

    # Saved and restored -----------------------------------------------------------------------------------------------

    def whole(self) -> pools.StatePool:
        """Returns the same pool with all states on every rank that needs them: rank 0; the others get seeds in their place."""
        states = self.seeds[self.label.to(self.seeds.device)].clone() if self.ranks.first else self.seeds[:1].clone()
        # One rank after the other, so that no more than its part is twice in memory.
        for rank in range(1, self.ranks.size):
            slots = [slot for slot, owner in enumerate(self.owner) if owner == rank]
            if not slots or self.ranks.rank not in (0, rank):
                continue
            if self.ranks.rank == rank:
                self.ranks.exchange({0: torch.stack([self.rows[slot] for slot in slots])}, {})
            else:
                room = states.new_empty(len(slots), *self.seed.shape)
                self.ranks.exchange({}, {rank: room})
                states[slots] = room
        if self.ranks.first:
            for slot, state in self.rows.items():
                states[slot] = state
        own = {"labels": self.label, "seed": self.seeds} if self.labelled else {"seed": self.seed}
        if not self.ranks.first:
            own = {"labels": torch.zeros(1, dtype=torch.int64), "seed": self.seeds} if self.labelled else {"seed": self.seed}
        pool = pools.StatePool(states, generator=self.generator, dead_value=self.dead_value, **own)
        if self.ranks.first:
            pool.age.copy_(self.age)
        pool.reseeded = dict(self.reseeded)
        return pool

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what a resumed run needs, on rank 0, as one pool saves it; all ranks call it."""
        return self.whole().state_dict()

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Continues where a pool of this size was saved, by however many processes; each keeps its own slots.

        Raises:
            ValueError: A key, shape, dtype or value doesn't fit.
        """
        whole = pools.StatePool(
            self.seeds[self.label.to(self.seeds.device)],
            generator=self.generator,
            seed=self.seeds if self.labelled else self.seed,
            dead_value=self.dead_value,
            labels=self.label if self.labelled else None,
        )
        whole.load_state_dict(saved)
        self.seeds, self.label, self.age = whole.seeds, whole.label, whole.age.cpu()
        self.reseeded = dict(whole.reseeded)
        self.owner = [rank for rank in range(self.ranks.size) for _ in self.ranks.share(len(self), rank)]
        self.rows = {slot: whole.states[slot].clone() for slot in self.ranks.share(len(self))}


def build_pool(
    seeds: Tensor, labels: Tensor, generator: torch.Generator, rule: Rule, shared: bool
) -> pools.StatePool | RankedPool:
    """Returns a pool of copies of seeds, shared out where several processes share out the samples of a batch.

    Args:
        seeds: One for each body, (L, C, D, H, W).
        labels: Which body each slot is to become, int64 (N,).
        generator: Draws the samples.
        rule: The rule that is trained.
        shared: Whether evolved states come back, so that there is something to share out.
    """
    ranks = current()
    if shared and ranks.size > 1 and ranks.splits == "samples":
        return RankedPool(ranks, seeds, labels, generator, rule.dead_value, bool(rule.conditions))
    own = {"labels": labels, "seed": seeds} if rule.conditions else {}
    return pools.StatePool(seeds[labels.to(seeds.device)], generator=generator, dead_value=rule.dead_value, **own)
