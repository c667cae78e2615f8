"""Pools of evolved states: what training samples from and writes back to, the damage it does, how varied it stays.

Torch tensors in, torch tensors out. A leaf: it may import torch and the standard library, and nothing of `nca3d`.

    pool = pools.StatePool(states, generator=g)
    batch = pool.sample(8)
    ready = pools.prepare(batch.states, losses, seed=pool.seed, damage=pools.damage.mixture(["sphere"]), damage_count=2)
    pool.replace(batch.index, rollout(ready.states), steps=32, fresh=ready.fresh)
"""

from pools import damage, diversity, pattern
from pools.state_pool import Batch, Prepared, StatePool, prepare

__all__ = ["Batch", "Prepared", "StatePool", "damage", "diversity", "pattern", "prepare"]
