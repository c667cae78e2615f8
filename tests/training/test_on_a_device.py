"""Training on a device of its own: on a GPU that is pretended (`pretend_cuda.py`), and on a real one where there is one."""

import pytest
import torch
from pretend_cuda import pretended
from tiny_runs import tiny_body

from nca3d import checkpoint
from nca3d.training.trainer import Trainer


def tiny(**changes):
    shared = {"size": (5, 5, 5), "iterations": 40, "steps": (2, 3), "ageing": 3, "curriculum": 0.0, "damage_from": 0.0}
    return tiny_body(**{**shared, "executor": "dense", "device": "cuda", **changes})


def iterations(config, count=5):
    """A trainer after some iterations, the fifth of which ages states, and their losses."""
    trainer = Trainer.begin(config)
    return trainer, [trainer.step().metrics["loss"] for _ in range(count)]


def test_the_pretended_device_refuses_what_a_real_one_would():
    with pretended() as record:
        here, there = torch.ones(3, requires_grad=True), torch.ones(3, device="cuda")
        assert there.device.type == "cuda" and there[:2].device == (there * 2).device == here.to(there).device
        with pytest.raises(RuntimeError, match="add: tensors of two devices"):
            here + there
        (here.to("cuda") * there).sum().backward()
        assert here.grad.device.type == "cpu"
        assert not record.waits
        assert int(there.sum()) == 3 and sum(record.waits.values()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"executor": "dense"},
        pytest.param(
            {"executor": "event", "balance": "softadapt", "accumulate": 2, "gradient": "clip"}, marks=pytest.mark.slow
        ),
        pytest.param({"executor": "graph", "regime": "growing"}, marks=pytest.mark.nightly),
        pytest.param({"perception": "learned", "padding": "circular", "memory": "recompute"}, marks=pytest.mark.slow),
        pytest.param(
            {"balance": "learned", "detach_every": 1, "damages": ("limb", "shell", "cube")}, marks=pytest.mark.nightly
        ),
    ],
)
def test_nothing_of_an_iteration_stays_behind_on_the_cpu(changes, tmp_path, request):
    """Each operation finds its tensors on one device, from the pool to the checkpoint, and the numbers are those of the CPU."""
    if changes.get("executor") == "graph":
        pytest.importorskip("torch_geometric")
    with pretended():
        trainer, losses = iterations(tiny(**changes))
        assert trainer.pool.states.device.type == "cuda"
        trainer.task.pattern(trainer.rule, trainer.pool.states)
        assert trainer.task.fault(trainer.trained_rule()) == ""
        trainer.save(tmp_path)
        trainer.restore(checkpoint.load(tmp_path))
        losses.append(trainer.step().metrics["loss"])
    assert losses == pytest.approx(iterations(tiny(**changes, device="cpu"), 6)[1], rel=1e-6)


@pytest.mark.parametrize(("pool_device", "lies"), [("device", "cuda"), ("host", "cpu")])
def test_the_pool_may_lie_anywhere(pool_device, lies):
    with pretended():
        trainer, losses = iterations(tiny(pool_device=pool_device), 3)
        assert trainer.pool.states.device.type == trainer.pool.age.device.type == lies
    assert losses == pytest.approx(iterations(tiny(device="cpu"), 3)[1], rel=1e-6)


def test_a_large_pool_is_kept_on_the_host():
    """A quarter of what is free on the device, and no more, if nobody says where."""
    with pretended(free=4 * 8 * 8 * 125 * 4) as _:
        assert Trainer.begin(tiny(pool_size=8)).pool.states.device.type == "cuda"
        assert Trainer.begin(tiny(pool_size=9)).pool.states.device.type == "cpu"


@pytest.mark.slow
def test_an_iteration_hardly_waits_for_the_device():
    """Beside the executor's own: no question for each parameter, term or sample, and no copy of a state to the host."""
    with pretended() as record:
        trainer = Trainer.begin(tiny(damage_count=0, ageing=0, accumulate=4))
        trainer.step()
        record.waits.clear()
        record.copies.clear()
        trainer.step()
    waits = {line: count for line, count in record.waits.items() if "executors" not in line}
    assert sum(count for line, count in waits.items() if line.startswith("nca3d")) <= 8, waits
    assert sum(waits.values()) <= 24, waits
    assert not [line for line in record.copies if "to host" in line and "executors" not in line], record.copies


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"pool_device": "host"}])
def test_a_run_resumes_on_its_device(device, tmp_path, changes):
    """Law 11 on each device."""
    config = tiny(**changes, device=device.type)
    straight, _ = iterations(config, 4)
    first, _ = iterations(config, 2)
    first.save(tmp_path)
    resumed = Trainer.begin(config)
    resumed.restore(checkpoint.load(tmp_path))
    resumed.step()
    resumed.step()
    for name, tensor in straight.rule.state_dict().items():
        assert tensor.device.type == device.type
        assert torch.equal(tensor, resumed.rule.state_dict()[name])
    assert torch.equal(straight.pool.states, resumed.pool.states)
