"""The shell: each verb has `--help`, which names every flag of 0.1.0."""

import re
import subprocess
import sys

import pytest
from contract_tools import frozen, main

FLAGS = frozen("flags")


@pytest.mark.parametrize("verb", FLAGS)
def test_help_names_every_flag(verb, capsys):
    assert main(verb, "--help") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    missing = [flag for flag in FLAGS[verb]["flags"] if not re.search(rf"(?<![\w-]){flag}(?![\w-])", shown.out)]
    assert missing == []
    assert all(place in shown.out for place in FLAGS[verb]["places"])


def test_help_names_every_verb(capsys):
    for argv in (["--help"], []):
        assert main(*argv) == 0
        words = capsys.readouterr().out.split()
        assert set(FLAGS) <= set(words)


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "nca3d", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"nca3d \d+\.\d+\.\d+\S*\n", done.stdout)


def test_an_unknown_verb_or_flag_is_told_with_the_nearest(capsys):
    assert main("trian") == 2
    line = capsys.readouterr().err
    assert "did you mean 'train'" in line and all(verb in line for verb in FLAGS)
    for verb in ("train", "evaluate", "bench", "targets"):
        assert main(verb, "--no-such-flag", "1") == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "--no-such-flag" in line and "Traceback" not in line
