"""Pools of evolved states, which training samples from and writes back to; damage of bodies; measures of variety and pattern.

Torch tensors in, torch tensors out. This package may import torch and the standard library, and nothing of `nca3d`.

    pool = pools.StatePool(states, generator=g)
    batch = pool.sample(8)
    prepared = pools.prepare(batch.states, losses, seed=pool.seed, damage=pools.damage.mixture(["sphere"]), damage_count=2)
    pool.replace(batch.index, rollout(prepared.states), steps=32, fresh=prepared.fresh)
"""

from pools import damage, diversity, pattern
from pools.state_pool import Batch, Prepared, StatePool, prepare

__all__ = ["Batch", "Prepared", "StatePool", "damage", "diversity", "pattern", "prepare"]
