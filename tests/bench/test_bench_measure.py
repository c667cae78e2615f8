"""Rows, tables and peaks: that they say what happened. How fast anything is, is a benchmark and no test."""

import mmap
from dataclasses import replace

import pytest
import torch

from nca3d.bench import measure, memory
from nca3d.bench.contenders import Contender, TorchRunner, contenders
from nca3d.bench.inputs import make_rule
from nca3d.bench.measure import Means, announce, kept_bytes, measure_setting
from nca3d.bench.progress import Progress
from nca3d.bench.results import Row, megabytes, table, with_ratios
from nca3d.bench.settings import SETTINGS, Setting
from nca3d.errors import InputErrors
from nca3d.executors import exact

# They measure, some in processes of their own.
pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TINY = Setting("tiny", (7, 6, 8), batch=2, steps=3, living=0.4, bf16=True)
MB = 1 << 20


def test_who_is_measured():
    names = [c.name for c in contenders(SETTINGS["body32"])]
    assert names == ["textbook", *(name for name in exact() if name != "slabs"), "event compact"]
    assert [c.name for c in contenders(SETTINGS["sparse128"])] == ["event", "event compact"]
    assert "event compact" not in [c.name for c in contenders(SETTINGS["cube"])]
    assert [c.name for c in contenders(TINY, ["dense"], ["cax"])] == [
        "textbook",
        "cax",
        "dense",
        "textbook bf16",
        "dense bf16",
    ]
    with pytest.raises(InputErrors, match=r"--executors: found 'evnt', allowed .*did you mean 'event'"):
        contenders(TINY, ["evnt", "dense"])


@pytest.mark.parametrize("name", ["textbook", *exact()])
def test_every_contender_trains(name):
    if name == "graph":
        pytest.importorskip("torch_geometric")
    runner = TorchRunner(Contender(name), TINY, CPU)
    runner.run(True, random_seed=3)
    module = runner.textbook or runner.rule
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters() if p.requires_grad)
    assert runner.time(True, 4) > 0
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.slow
def test_rows_of_a_setting():
    who = contenders(TINY, ["dense", "event"])
    means = Means(CPU, repeats=2, memory=False)
    announce(TINY, who, means)
    rows = measure_setting(TINY, [*who, Contender("nobody")], means)
    assert [row.contender for row in rows][:3] == ["textbook", "dense", "event"]
    for row in rows[:-1]:
        assert len(row.forward_all) == len(row.training_all) == 2
        assert row.updates == pytest.approx(TINY.updates * row.iterations)
        assert row.living_start == pytest.approx(0.4, rel=0.05)
        assert row.living_end == pytest.approx(0.4, rel=0.1)
        assert row.training_ratio == pytest.approx(rows[0].training / row.training)
    assert "nobody" in rows[-1].skipped
    assert rows[-1].training is None
    assert f"tiny, nobody: {rows[-1].skipped}" in table(rows)


@pytest.mark.slow
def test_what_does_not_fit_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr(measure, "free_memory", lambda: 1000)
    textbook, dense = measure_setting(
        TINY, contenders(replace(TINY, bf16=False), ["dense"]), Means(CPU, repeats=1, memory=False)
    )
    assert "GB are free" in textbook.skipped
    assert textbook.training is None
    assert dense.training is not None
    assert dense.training_ratio is None


def test_slow_contenders_sit_out(monkeypatch):
    monkeypatch.setattr(measure, "PATIENCE", 0.0)
    (row,) = measure_setting(TINY, [Contender("event")], Means(CPU, repeats=3, memory=False))
    assert len(row.training_all) == 1


def test_ratios_and_an_aligned_table():
    rows = with_ratios(
        [
            Row("s", "textbook", 2.0, 6.0, allocated=4000, resident=8_000_000_000),
            Row("s", "event", 0.5, 1.0, allocated=1000, living_start=0.05, living_end=0.0512),
        ]
    )
    assert (rows[1].forward_ratio, rows[1].training_ratio, rows[1].allocated_ratio) == (4.0, 6.0, 4.0)
    assert rows[1].resident_ratio is None
    lines = table(rows).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1
    assert "5 → 5.12 %" in lines[3]
    assert "8,000" in lines[2]


@pytest.mark.parametrize(
    ("size", "words"), [(1234, "0.00123"), (5.42e6, "5.42"), (999.4e6, "999"), (2_422_586_308, "2,420"), (23_779e6, "23,800")]
)
def test_megabytes(size, words):
    assert megabytes(size) == words


# ---- memory --------------------------------------------------------------------------------------------------------


def overlapping() -> float:
    a = torch.ones(8 * MB)  # 32 MiB
    b = a + 1
    del a
    c = b * 2
    return float(c[0])


def in_turn() -> float:
    return sum(float(torch.ones(8 * MB)[0]) for _ in range(4))


@pytest.mark.slow
def test_the_allocated_peak_is_what_is_held_at_once():
    assert memory.allocated_bytes(overlapping) == pytest.approx(64 * MB, rel=0.01)
    assert memory.allocated_bytes(in_turn) == pytest.approx(32 * MB, rel=0.01)


def mapped() -> mmap.mmap:
    """32 MiB in use, straight from the system: what the C library keeps of freed memory depends on what ran before."""
    pages = mmap.mmap(-1, 32 * MB)
    for _ in range(32):
        pages.write(b"x" * MB)
    return pages


def two_at_once() -> None:
    first = mapped()
    second = mapped()
    first.close()
    third = mapped()
    second.close()
    third.close()


def one_after_the_other() -> None:
    for _ in range(4):
        mapped().close()


@pytest.mark.slow
def test_the_resident_peak_is_what_the_system_gave():
    for run, wanted in ((two_at_once, 64 * MB), (one_after_the_other, 32 * MB)):
        found = memory.resident_bytes(run)
        if found is None:
            pytest.skip("the kernel does not say")
        assert wanted * 0.98 < found < wanted * 1.25 + 4 * MB


@pytest.mark.slow
@pytest.mark.parametrize(("side", "steps"), [(8, 3), (8, 9), (12, 5)])
def test_what_the_textbook_keeps_is_known_beforehand(side, steps):
    setting = Setting("s", (side,) * 3, batch=2, steps=steps, living=0.3)
    runner = TorchRunner(Contender("textbook"), setting, CPU)
    runner.run(True, 0)
    found = memory.allocated_bytes(lambda: runner.time(True, 1))
    assert found == pytest.approx(kept_bytes(setting), rel=0.08)


@pytest.mark.slow
def test_peak_memory_in_a_process_of_its_own():
    setting = SETTINGS["quick-body"]
    textbook, event = (memory.peak_memory(Contender(name), setting, CPU) for name in ("textbook", "event"))
    assert textbook.allocated == pytest.approx(kept_bytes(setting), rel=0.08)
    assert textbook.resident is None or textbook.resident > 0.95 * textbook.allocated
    assert event.allocated < textbook.allocated / 5
    once = memory.peak_memory(Contender("event"), setting, CPU, at_once=True)
    assert once.allocated == pytest.approx(event.allocated, rel=0.01)
    assert once.resident is None or once.resident == pytest.approx(event.resident, rel=0.5, abs=20 * MB)
    with pytest.raises(RuntimeError, match=r"nobody at quick-body: .*nobody"):
        memory.peak_memory(Contender("nobody"), setting, CPU)


# ---- progress ------------------------------------------------------------------------------------------------------


def test_the_bar_counts_seconds_and_learns():
    bar = Progress(shown=False)
    bar.expect("a", 100.0, 3)
    bar.expect("b", 50.0)
    assert bar._bar.total == 350
    with bar.doing("a"):
        pass
    assert bar._bar.total < 51, "a is quick after all"
    bar.forget("b")
    assert bar._bar.total < 1
    bar.close()


def test_weights_are_a_function_of_the_seed():
    weights = [make_rule(replace(TINY, random_seed=seed)).network[-1].weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
