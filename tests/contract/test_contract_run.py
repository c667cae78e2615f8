"""The shell: a run from its first step to its report, and how one ends that does not get there."""

import signal
import subprocess
import sys
import time

import pytest
from contract_tools import OLD, dotted, main, records, table

import nca3d

SMALL = "--target sphere --size 5 6 5 --channels 8 --hidden 16 --steps 4 9 --batch 4 --pool-size 4"
TINY = f"{SMALL} --threads 1 --warmup 0 --device cpu"
WILD = "--step-size 10 --learning-rate 1 --gradient none --max-bad-steps 2 --regime persistent"


@pytest.mark.slow
def test_a_run_ends_with_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NCA3D_RENDERER", "raymarch")
    monkeypatch.chdir(tmp_path)
    argv = [*TINY.split(), "--iterations", 4, "--save-every", 2, "--log-every", 1, "--out", "run"]
    assert main("train", *argv) == 0
    printed = capsys.readouterr().out.split()
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert {"config.toml", "metrics.jsonl", "checkpoints", "report.html", "report.json"} <= names
    assert "run/report.html" in printed and printed[-1] == "run"
    assert {"step-000002", "step-000004"} == {file.name for file in (tmp_path / "run" / "checkpoints").iterdir()}
    for step in (tmp_path / "run" / "checkpoints").iterdir():
        assert {"manifest.json", "rule.safetensors"} <= {file.name for file in step.iterdir()}
    assert [record["iteration"] for record in records(tmp_path / "run")] == [1, 2, 3, 4]
    record, old = table(tmp_path / "run" / "report.json"), table(OLD / "body" / "report.json")
    assert set(dotted(old["figures"])) <= set(dotted(record.get("figures", record)))
    assert {"title", "config", "versions", "files"} <= record.keys() | record.get("about", {}).keys()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<img" in page and 'src="http' not in page
    rule = nca3d.load(tmp_path / "run")
    assert set(table(OLD / "body" / "checkpoints" / "step-000012" / "scalars.json")["card"]) <= rule.card.keys()
    assert nca3d.load(tmp_path / "run" / "checkpoints" / "step-000002").card["target"] == "sphere"


def test_without_out_the_first_free_number_is_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert main("train", *TINY.split(), "--iterations", 1, "--no-report") == 0
        assert capsys.readouterr().out.split()[-1] == f"runs/sphere-{number}"


def test_a_failed_run_is_exit_code_1_and_one_line(tmp_path, monkeypatch, capfd):
    """Steps so long that all values leave the range of numbers."""
    monkeypatch.chdir(tmp_path)
    wild = f"{TINY} {WILD} --save-every 5 --iterations 200 --out wild --no-report"
    assert main("train", *wild.split()) == 1
    err = capfd.readouterr().err
    assert "Traceback" not in err and "wild" in err.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_so_by_its_code(number, code, tmp_path):
    long = ["--iterations", "100000", "--log-every", "1", "--out", "run", "--no-report"]
    command = [sys.executable, "-m", "nca3d", "train", *TINY.split(), *long]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            until = time.monotonic() + 60
            while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < until and child.poll() is None:
                time.sleep(0.05)
            child.send_signal(number)
            _, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == code, err
    assert "Traceback" not in err
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert records(tmp_path / "run")[-1]["iteration"] == int(saved.name.removeprefix("step-"))


@pytest.mark.slow
def test_doctor_looks_and_injects(capsys):
    assert main("doctor") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("python", "torch", "extra viz", "extra teacher", "living cells"))
    assert main("doctor", "--inject", "flip-bit") == 0


@pytest.mark.slow
def test_bench_plans(capsys):
    assert main("bench", "--plan", 16, 16, 16, "--steps", 8, "--batch", 2) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_laws_of_a_shipped_rule(capsys):
    assert main("evaluate", "zoo:cross", "--laws") == 0
    told = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {"vacuum", "locality"} <= {word.lower() for word in told}
