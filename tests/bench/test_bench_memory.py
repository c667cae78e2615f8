"""The peak of memory is measured in a process of its own, which imports nothing that lies in the current folder."""

import sys

import pytest
import torch

from nca3d.bench.contenders import Contender
from nca3d.bench.memory import peak_memory
from nca3d.bench.settings import SETTINGS
from nca3d.cli.faults import inject


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """The current folder has modules that leave a mark; returns the mark."""
    for name in ("torch", "numpy", "nca3d"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mark"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_measuring_process(foreign):
    peak = peak_memory(Contender("dense"), SETTINGS["quick-body"], torch.device("cpu"), at_once=True)
    assert peak.allocated > 0 and not foreign.exists()


@pytest.mark.slow
def test_the_process_of_a_fault(foreign, capsys):
    assert inject("full-disk") == 0, capsys.readouterr().out
    assert not foreign.exists()
