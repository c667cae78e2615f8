"""What a run holds is counted to the byte."""

import torch
from tiny_runs import tiny_body

from nca3d.training.ledger import held_bytes, memory_figures
from nca3d.training.trainer import Trainer


def test_every_byte_is_counted_once():
    trainer = Trainer.begin(tiny_body(iterations=3))
    fresh = held_bytes(trainer)
    weights = 4 * sum(p.numel() for p in trainer.rule.parameters())
    assert fresh["parameters"] == weights and fresh["gradients"] == fresh["optimizer"] == fresh["kept"] == 0
    assert fresh["pool"] == trainer.pool.states.nbytes + trainer.pool.seed.nbytes + trainer.pool.age.nbytes
    assert fresh["average"] == sum(t.nbytes for t in trainer.rule.state_dict().values())
    trainer.step()
    held = held_bytes(trainer)
    moments = 2 * weights + 4 * len(list(trainer.rule.parameters()))
    assert held["gradients"] == weights and held["optimizer"] == moments
    assert held["kept"] > 0 == held["offloaded"]


def test_less_is_kept_where_steps_are_run_again_or_kept_elsewhere():
    keep, again, host = (
        Trainer.begin(tiny_body(iterations=3, steps=(12, 12), size=(12, 12, 12), executor="dense", **changes))
        for changes in ({"memory": "keep"}, {"memory": 4}, {"memory": "keep", "offload": "host"})
    )
    for trainer in (keep, again, host):
        # All cells alive: of a seed alone steps keep less than a state.
        trainer.pool.states.copy_(torch.rand(trainer.pool.states.shape, generator=torch.Generator().manual_seed(0)))
        trainer.step()
    for a, b, c in zip(*(trainer.rule.parameters() for trainer in (keep, again, host)), strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    assert held_bytes(again)["kept"] < 0.5 * held_bytes(keep)["kept"]
    assert held_bytes(host)["offloaded"] > 0.5 * held_bytes(keep)["kept"] > held_bytes(host)["kept"]


def test_figures_are_in_mebibytes():
    trainer = Trainer.begin(tiny_body(iterations=3))
    trainer.step()
    figures, held = memory_figures(trainer), held_bytes(trainer)
    assert figures["pool_mib"] == round(held["pool"] / 2**20, 3)
    assert 8 <= figures["optimizer_bytes_a_weight"] < 8.1
