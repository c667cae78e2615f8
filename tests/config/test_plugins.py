"""A folder is data: its plug-ins run only if the caller names them or has confirmed these very bytes; none ends in success."""

import hashlib
import os
import pickle
import signal
import sys
from pathlib import Path

import pytest

import nca3d
from nca3d.cli import main
from nca3d.config import plugins
from nca3d.errors import InputError
from nca3d.process import supervise

CODE = """
from pathlib import Path
Path({mark!r}).touch()
from nca3d.losses import LOSSES
LOSSES.register("loss of mine")(lambda moments, target, rule: (moments[-1] ** 2).mean(dim=(1, 2, 3, 4)))
"""
_FLAGS = "--target sphere --size 7 7 7 --hidden 8 --batch 2 --pool-size 2 --damage-count 0 --steps 2 3 --iterations 2"
FLAGS = _FLAGS.split()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: None) -> Path:
    """Nobody's confirmations, and an empty place for those of the test."""
    monkeypatch.setattr(plugins, "_named", set())
    monkeypatch.setattr(plugins, "state_folder", lambda: tmp_path / "state" / "nca3d")
    return tmp_path / "state" / "nca3d"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE.format(mark=str(tmp_path / "mark")))
    return path


@pytest.fixture
def run(tmp_path: Path, mine: Path) -> Path:
    """A run of somebody who used a plug-in, as it comes to us."""
    folder = tmp_path / "run"
    losses = ["--losses", "rgba=1", "loss of mine=0.1", "--plugins", str(mine)]
    assert main(["train", *FLAGS, *losses, "--no-report", "--out", str(folder)]) == 0
    plugins._named.clear()
    (tmp_path / "mark").unlink()
    return folder


VERBS = [
    ["evaluate", "RUN", "--json", "OUT.json"],
    ["evaluate", "RUN/checkpoints/step-000002", "--laws"],
    ["render", "RUN", "--out", "OUT.png"],
    ["render", "zoo:cross", "--beside", "RUN", "--out", "OUT.mp4"],
    ["export", "RUN", "--live", "OUT.html"],
    ["export", "RUN", "OUT.npz"],
    ["train", "--resume", "RUN", "--iterations", "3"],
    ["train", "RUN/config.toml", "--out", "OUT"],
    ["train", "--init", "RUN", *FLAGS, "--out", "OUT"],
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_verb_runs_the_code_of_a_folder(
    verb: list[str], run: Path, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    before = sorted(run.rglob("*"))
    assert main([word.replace("RUN", "run").replace("OUT", "made") for word in verb]) == 2
    error = capsys.readouterr().err
    assert not (tmp_path / "mark").exists()
    assert sorted(run.rglob("*")) == before and not list(tmp_path.glob("made*"))
    lines = [line for line in error.splitlines() if "sha256" in line]
    assert len(lines) == 1
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert all(word in lines[0] for word in ("config.toml: plugins: found", digest, str(mine), "--plugins", "nca3d trust"))


def test_doors_run_no_code_of_a_folder(run: Path, tmp_path: Path) -> None:
    config = nca3d.Config.load(run / "config.toml")
    calls = [
        lambda: nca3d.load(run),
        lambda: nca3d.evaluate(run),
        lambda: nca3d.train(resume=run, iterations=3),
        lambda: nca3d.train(config.replace(out=str(tmp_path / "new"))),
        lambda: nca3d.train(pickle.loads(pickle.dumps(config)).anchored().replace(out=str(tmp_path / "new"))),
    ]
    for call in calls:
        with pytest.raises(InputError, match="plugins: found code that this file wants to run"):
            call()
    assert not (tmp_path / "mark").exists() and not (tmp_path / "new").exists()


def test_who_names_it_runs_it(run: Path, mine: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for call in (
        lambda: nca3d.load(run, plugins=[mine]),
        lambda: nca3d.train(resume=run, iterations=3, report=False, plugins=[str(mine)], progress=False),
        lambda: main(["export", str(run), "--live", str(tmp_path / "a.html"), "--plugins", str(mine)]),
    ):
        plugins._named.clear()
        assert call() not in (1, 2) and mark.exists()
        mark.unlink()
    # What was named once in this process may run again, and what is named may be nothing.
    nca3d.load(run)
    assert mark.exists()
    mark.unlink()
    plugins._named.clear()
    assert isinstance(nca3d.load(run, plugins=()), nca3d.ConvRule) and not mark.exists()


def test_what_was_confirmed_runs_until_it_changes(
    run: Path, mine: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    assert main(["trust", str(mine)]) == 0
    assert state.stat().st_mode & 0o777 == 0o700
    nca3d.load(run)
    assert mark.exists()
    mark.unlink()
    text = mine.read_text()
    mine.write_text(text + "\n# one byte more")
    with pytest.raises(InputError, match="nca3d trust"):
        nca3d.load(run)
    mine.write_text(text)
    capsys.readouterr()
    assert main(["trust"]) == 0
    assert capsys.readouterr().out == f"{hashlib.sha256(text.encode()).hexdigest()}  {mine}\n"
    assert main(["trust", "--forget", "mine.py"]) == 0 and main(["trust", "--forget", "mine.py"]) == 2
    with pytest.raises(InputError, match="nca3d trust"):
        nca3d.load(run)
    assert not mark.exists()


@pytest.mark.parametrize("how", ["link", "writable file", "writable folder", "pipe", "folder", "junk"])
def test_a_list_that_others_may_have_written_confirms_nothing(how: str, run: Path, mine: Path, state: Path) -> None:
    assert main(["trust", str(mine)]) == 0
    kept = state / "trusted-plugins"
    line = kept.read_bytes()
    if how == "writable file":
        kept.chmod(0o666)
    elif how == "writable folder":
        state.chmod(0o777)
    elif how == "junk":
        kept.write_bytes(b"\xff\n" + line[1:])
    else:
        kept.unlink()
        if how == "pipe":
            os.mkfifo(kept)
        elif how == "folder":
            kept.mkdir()
        else:
            (state / "other").write_bytes(line)
            kept.symlink_to(state / "other")
    with pytest.raises(InputError, match="nca3d trust"):
        nca3d.load(run)


def test_a_look_at_what_is_confirmed_makes_no_folder(state: Path) -> None:
    assert main(["trust", "nowhere.py"]) == 2
    assert not state.exists()


def test_init_is_no_door_for_code(tmp_path: Path) -> None:
    code = tmp_path / "evil.py"
    code.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'mark')!r}).touch()")
    (tmp_path / "evil.py:Rule").mkdir()
    config = nca3d.Config(init=f"{code}:Rule", target="sphere", size=(5, 5, 5), out=str(tmp_path / "run"))
    with pytest.raises(InputError, match="init"):
        nca3d.train(config)
    assert not (tmp_path / "mark").exists() and not (tmp_path / "run").exists()


ENDS = {
    "sys.exit(0)": "it called sys.exit(0)",
    "sys.exit()": "it called sys.exit(None)",
    "raise SystemExit('bye')": "it called sys.exit('bye')",
    "import os; os._exit(0)": "it called os._exit(0)",
    "1 / 0": "ZeroDivisionError",
    "raise GeneratorExit": "GeneratorExit",
    "def": "SyntaxError",
    "'\\ud800'.encode()": "UnicodeEncodeError",
    "\0": "null bytes",
    "import time; time.sleep(60)": "no end after 0.6 s",
    "while True: pass": "no end after 0.6 s",
}


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("as_rule", [False, True])
def test_code_that_does_not_run_to_its_end_is_no_success(
    code: str, as_rule: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NCA3D_PLUGIN_SECONDS", "0.6")
    file = tmp_path / "own.py"
    file.write_text(f"import sys\n{code}\n")
    named = ["evaluate", f"{file}:Rule", "--laws"] if as_rule else ["train", *FLAGS, "--plugins", str(file)]
    assert main([*named, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"{file}: ") and ENDS[code] in line
    assert not (tmp_path / "out").exists() and "<run_path>" not in sys.modules
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_silly_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCA3D_PLUGIN_SECONDS", "soon")
    with pytest.raises(InputError, match="NCA3D_PLUGIN_SECONDS"):
        supervise.execute("own.py", b"", "file")


@pytest.mark.parametrize("does", ["raise KeyError('a')", "raise OSError('b')"])
def test_a_target_of_a_plugin_that_fails_is_one_line(does: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.py").write_text(f"import nca3d\n@nca3d.TARGETS.register('mine')\ndef mine(size):\n    'Mine.'\n    {does}\n")
    assert main(["targets", "mine", "--plugins", str(tmp_path / "p.py")]) == 2
    assert f"{tmp_path / 'p.py'}: target 'mine': found {does[6:9]}" in capsys.readouterr().err
