"""Config fields as flags: each has one, they override the file, all that is wrong is told at once."""

import tomllib
from argparse import Namespace
from pathlib import Path

import pytest
from complaint import complaint
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cli import flags, main
from nca3d.cli.command import parser_of
from nca3d.cli.flags import SEEDS, wrong_file, wrong_folder, wrong_numbers
from nca3d.config import FIELDS, Config
from nca3d.errors import InputError
from nca3d.schema.spec import toml


def config_of(*argv: str) -> Config:
    return flags.config_from(parser_of("train").read(argv))


def test_every_field_has_a_flag_with_its_doc(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, spec in FIELDS.items():
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(spec.doc.split()[:3]) in text
    assert text.count("(default: None)") == 0


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("batch = 4\niterations = 7\nlosses = { rest = 2.0 }\nreport = true\n")
    config = config_of(
        str(file),
        "--size",
        "4",
        "5",
        "6",
        "--learning-rate",
        "1e-3",
        "--batch=6",
        "--losses",
        "rgba=1",
        "overflow=0.1",
        "--no-report",
        "--steps",
        "3",
        "9",
        "--hidden",
        "32",
        "16",
        "--target-options",
        "margin=2",
        "colormap=viridis",
        "on=true",
        "axes=[0, 1]",
        "day=2020-01-01",
        "--memory",
        "4",
        "--damages",
        "box",
        "slab",
        "--plugins",
    )
    assert config == Config(
        batch=6,
        iterations=7,
        size=(4, 5, 6),
        learning_rate=1e-3,
        losses={"rgba": 1, "overflow": 0.1},
        report=False,
        steps=(3, 9),
        hidden=(32, 16),
        memory=4,
        damages=("box", "slab"),
        target_options={"margin": 2, "colormap": "viridis", "on": True, "axes": [0, 1], "day": "2020-01-01"},
    )


def test_words_stand_in_for_numbers() -> None:
    config = config_of("--steps", "auto", "--memory", "keep", "--tensorboard", "--losses")
    assert (config.steps, config.memory, config.tensorboard, config.losses) == ("auto", "keep", True, {})


def test_a_word_stands_for_all_numbers_of_a_flag(tmp_path: Path) -> None:
    """And CONFIG may still stand behind three numbers."""
    file = tmp_path / "own.toml"
    file.write_text('size = [4, 5, 6]\n[body]\ntarget = "own.npy"\n')
    assert config_of(str(file)).size == (4, 5, 6)
    for words in (["--size", "auto"], ["--size=auto"]):
        assert config_of(*words, str(file)).size == "auto"
    assert config_of("--size", "7", "8", "9", str(file)).size == (7, 8, 9)


def test_without_a_config_it_is_default() -> None:
    assert config_of() == Config.load("default")


def test_every_field_can_be_given_as_text(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    for name, spec in FIELDS.items():
        # A switch has no third position.
        value = spec.fallback if isinstance(spec.fallback, bool) else spec.default
        if value == "":  # nobody means an empty flag
            with pytest.raises(InputError, match="allowed a value that is not empty"):
                config_of(str(empty), flags.flag_of(name), "")
            continue
        texts = (
            [f"{key}={entry}" for key, entry in value.items()]
            if isinstance(value, dict)
            else [str(entry) for entry in value]
            if isinstance(value, tuple)
            else [str(value)]
        )
        flag = flags.flag_of(name)
        argv = ([flag] if value else [flag.replace("--", "--no-", 1)]) if isinstance(value, bool) else [flag, *texts]
        assert getattr(config_of(str(empty), *argv), name) == getattr(Config(), name), toml(value)


def test_an_entry_of_a_table_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "train", "tiny", "--target-options", "margin=1", "fit=true", "margin=3")
    assert line == "--target-options: target_options: found margin=1 fit=true margin=3, allowed margin once"


def test_all_errors_of_file_and_flags_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.toml"
    file.write_text("sise = [1, 2, 3]\nwarmup = -1\n")
    lines = complaint(
        capsys,
        "train",
        str(file),
        "--learning-rate",
        "abc",
        "--losses",
        "rgba",
        "--batch",
        "1000",
        "--size",
        "1",
        "2",
        "x",
        "--pool-size",
        "64",
    ).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("--losses: losses: found rgba, allowed NAME=VALUE")
    assert f"{file}: sise: found an unknown field, allowed a field of Config; did you mean 'size'?" in lines
    assert f"{file}: warmup: found -1, allowed an integer from 0 to 1_000_000" in lines
    assert "--learning-rate: learning_rate: found 'abc', allowed \"auto\" or a number above 0 and at most 1" in lines
    assert "--size: size: found [1, 2, 'x'], allowed \"auto\" or a list of 3 integers, each from 1 to 512" in lines
    assert "--batch: batch: found 1000, allowed at most pool_size = 64" in lines


@given(st.lists(st.sampled_from(["--size", "--losses", "--report", "--steps", "--memory"]) | st.text(max_size=6), max_size=5))
def test_any_arguments_give_a_config_or_input_errors(argv: list[str]) -> None:
    try:
        config = config_of(*argv)
    except InputError:
        return
    except SystemExit as stop:
        assert stop.code == 0, "only --help leaves"
        return
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config, "what is taken can be written down and read"


# ---- numbers and files that other flags name, refused before anything is done ----------------------------------------


def test_numbers() -> None:
    args = Namespace(steps=0, every=None, fps=float("nan"), random_seed=1 << 32, pixels=64)
    found = wrong_numbers(args, steps=(1, None), every=(1, None), fps=(0.1, 60), random_seed=SEEDS, pixels=(64, 4096))
    assert [str(error) for error in found] == [
        "--steps: number: found 0, allowed 1 or more",
        "--fps: number: found nan, allowed 0.1 to 60",
        "--random-seed: number: found 4294967296, allowed 0 .. 2**32 - 1",
    ]


@pytest.mark.parametrize(
    ("check", "name", "field"),
    [
        (wrong_file, "new.json", ""),
        (wrong_file, "there.json", ""),
        (wrong_file, "", "file"),
        (wrong_file, "none/new.json", "file"),
        (wrong_folder, "", ""),
        (wrong_folder, "a/b/c", ""),
        (wrong_folder, "there.json", "folder"),
        (wrong_folder, "there.json/a", "place"),
    ],
)
def test_places(check, name: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    assert [error.field for error in check("--out", tmp_path / name)] == ([field] if field else [])
    assert not list(check("--out", None))
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
