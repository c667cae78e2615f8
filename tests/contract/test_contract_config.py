"""Configs: every field of 0.1.0 is still taken from a flat file, as an argument and as a flag; shipped ones load by name."""

import pytest
from contract_tools import OLD, RENEWED, frozen, main

import nca3d

FIELDS = frozen("fields")
NAMES = frozen("names")["configs"]
OF_CUBES = {
    "questions",
    "teacher",
    "teacher_layer",
    "teacher_pool",
    "teacher_width",
    "question_noise",
    "adapters",
    "surface_learning_rate",
}


def started_from(name: str) -> str:
    return "cube" if name in OF_CUBES else "axolotl"


def as_words(value) -> list[str]:
    """A value as one types it after a flag."""
    if isinstance(value, dict):
        return [f"{key}={part}" for key, part in value.items()]
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def test_the_defaults(tmp_path):
    """A file of 0.1.0 with each field at its default is the default config."""
    (tmp_path / "all.toml").write_text(nca3d.Config().to_toml())
    assert nca3d.Config.load(tmp_path / "all.toml") == nca3d.Config()
    made = {
        name: tuple(spec["default"]) if isinstance(spec["default"], list) else spec["default"] for name, spec in FIELDS.items()
    }
    assert nca3d.Config(**{name: value for name, value in made.items() if name not in OF_CUBES}) == nca3d.Config()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_config(name):
    """By its name, and as 0.1.0 wrote it with every field: the same, and so is what it says of itself."""
    config, old = nca3d.Config.load(name), nca3d.Config.load(OLD / "configs" / f"{name}.toml")
    # The second one starts from a rule that was trained anew.
    if name in RENEWED | {"frog64"}:
        assert all(getattr(config, field) == getattr(old, field) for field in ("target", "size", "regime", "random_seed"))
    else:
        # "auto" was this then, and is written out now.
        assert old.replace(steps=old.steps_range) == config.replace(steps=config.steps_range)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_writes_what_it_reads(name, tmp_path):
    config = nca3d.Config.load(name)
    config.save(tmp_path / "own.toml")
    assert nca3d.Config.load(tmp_path / "own.toml") == config
    assert config.replace(random_seed=3) != config and config.replace(random_seed=3).replace(random_seed=0) == config


def test_a_config_of_a_few_lines():
    config = nca3d.Config.load(OLD / "own.toml")
    assert config == nca3d.Config(
        target="torus",
        size=(9, 12, 12),
        iterations=50,
        hidden=(32,),
        losses={"rgba": 1.0, "overflow": 0.5},
        target_options={"margin": 2},
    )


@pytest.mark.parametrize("name", FIELDS)
def test_a_flag_for_each_field(name, capsys, tmp_path):
    value = FIELDS[name]["default"]
    flag = f"--{name.replace('_', '-')}"
    # A promise that was given up: an empty flag is a variable of a script that is not set, and was taken for the default.
    if value == "":
        assert main("train", started_from(name), flag, "", "--print-config") == 2
        return
    if isinstance(value, bool):
        words = [flag if value else flag.replace("--", "--no-", 1)]
    else:
        words = [flag, *as_words(value)]
    base = started_from(name)
    assert main("train", base, *words, "--print-config") == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out)
    expected = nca3d.Config.load(base)
    key = tuple(value) if isinstance(value, list) else value
    assert nca3d.Config.load(tmp_path / "printed.toml") == expected.replace(**{name: key})


@pytest.mark.parametrize("name", [name for name, spec in FIELDS.items() if spec["choices"] or spec["words"]])
def test_each_choice_is_still_one(name):
    """Contradictions with other fields apart, which are told as such."""
    config = nca3d.Config.load(started_from(name))
    for choice in [*FIELDS[name]["choices"], *FIELDS[name]["words"]]:
        try:
            config.replace(**{name: choice})
        except nca3d.InputError as error:
            assert f"found '{choice}'" not in str(error) or "where" in str(error), error
    if FIELDS[name]["choices"]:
        with pytest.raises(ValueError) as caught:
            config.replace(**{name: "nope"})
        assert all(choice in str(caught.value) for choice in FIELDS[name]["choices"])


def test_flat_tables_of_losses_and_options(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("iterations = 7\n[losses]\nrgba = 1.0\nstill = 0.5\n[target_options]\nmargin = 2\n")
    found = nca3d.Config.load(file)
    assert found == nca3d.Config(iterations=7, losses={"rgba": 1.0, "still": 0.5}, target_options={"margin": 2})
