"""The record of what really ran."""

import pytest
import torch
from pretend_cuda import pretended
from tiny_runs import tiny_body

from nca3d.executors import native_code
from nca3d.training.ran import note_place, ran
from nca3d.training.trainer import Trainer

needs_compiler = pytest.mark.skipif(not native_code.available(torch.zeros(1)), reason="needs a C compiler")


@needs_compiler
def test_what_auto_chose_is_recorded():
    record = ran(Trainer.begin(tiny_body(precision="bf16", optimizer="adamw", threads=1)))
    assert record["executor"] == "event, compiled code"
    assert (record["precision"], record["optimizer"], record["threads"], record["cores"]) == ("bf16", "torch.AdamW", 1, 1)
    assert (record["device"], record["pool_device"], record["compiled"]) == ("cpu", "cpu", "not asked for")
    assert record["device_name"] and record["segment"] == -1


def test_what_stood_in_is_recorded_with_its_reason(monkeypatch):
    monkeypatch.setattr(native_code, "library", lambda *_: None)
    executor = ran(Trainer.begin(tiny_body()))["executor"]
    assert executor.startswith("event, torch: the rule ") and len(executor) > len("event, torch: the rule ")


@pytest.mark.parametrize(
    ("memory", "budget", "segment"),
    [("keep", 2048, 0), ("recompute", 2048, 1), (5, 2048, 5), ("auto", 2048, 0), ("auto", 1, 5)],
)
def test_the_plan_of_memory_is_recorded(memory, budget, segment):
    config = tiny_body(executor="dense", memory=memory, memory_budget=budget, steps=(20, 28))
    assert ran(Trainer.begin(config))["segment"] == segment


def test_on_a_device():
    with pretended(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_name", lambda device: "a pretended one")
        record = ran(Trainer.begin(tiny_body(device="cuda", pool_device="host")))
    assert (record["device"], record["device_name"], record["pool_device"]) == ("cuda", "a pretended one", "cpu")
    assert record["executor"].startswith(("event, torch", "dense, torch"))


def test_on_a_cpu_asking_for_host_memory_is_told():
    """Never a silent substitute: what is asked for has no meaning there."""
    said = note_place(Trainer.begin(tiny_body(offload="host", pool_device="host")))
    assert said.startswith("offload = host, pool_device = host: on a CPU all lies in host memory already")
    assert note_place(Trainer.begin(tiny_body())) == ""
