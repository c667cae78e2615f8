"""`nca3d doctor`: faults are injected and survived, and it can say no."""

import subprocess
import sys
from pathlib import Path

import pytest

from nca3d.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["flip-bit", "truncate", "kill-in-save", "full-disk"])
def test_the_doctor_injects_faults(case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nca3d", "doctor", "--inject", case], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{case}: the rule held\n")


def test_an_unknown_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d.cli import doctor, faults

    assert tuple(faults.CASES) == doctor.FAULTS
    monkeypatch.setitem(sys.modules, "nca3d.cli.faults", None)  # an import of it, and of torch with it, would fail
    assert main(["doctor", "--inject", "flipbit"]) == 2
    assert "did you mean 'flip-bit'?" in capsys.readouterr().err


def test_the_doctor_sees_a_broken_rule(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d import checkpoint

    unchecked = lambda record, name, entry: (record.parent / name).read_bytes()  # noqa: E731
    monkeypatch.setattr(checkpoint.reading, "read_verified", unchecked)
    assert main(["doctor", "--inject", "flip-bit"]) == 1
    assert "BROKEN" in capsys.readouterr().out
