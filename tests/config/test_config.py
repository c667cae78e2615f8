"""A config is strict, tells every error at once, and comes back from TOML as it was."""

import itertools
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from nca3d.config import FIELDS, Config
from nca3d.config import shipped as configs
from nca3d.config.clashes import CLASHES, Clash, clashing
from nca3d.config.fields import HOMES
from nca3d.errors import InputError, InputErrors
from nca3d.schema.spec import Spec
from nca3d.targets import TARGETS, doors, load


def lines_of(**values: Any) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        Config(**values)
    return str(caught.value).splitlines()


def test_the_defaults_hold() -> None:
    config = Config()
    assert config.size == (10, 18, 14)
    assert config.steps_range == (23, 46)
    assert config.horizon == 46
    assert Config.from_dict({"steps": [3, 7]}).steps_range == (3, 7)
    assert Config(steps=(3, 7)).horizon == 7
    assert Config.from_dict({"size": [5, 6, 7]}).size == (5, 6, 7), "lists become tuples"


def test_a_config_has_its_old_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "default" in configs.names() and "quick" not in configs.names()
    assert Config.load("quick") == Config.load("default") == Config()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").write_text("batch = 5")
    assert Config.load("quick.toml").batch == Config.load("./quick.toml").batch == 5


@pytest.mark.parametrize("name", configs.names())
def test_every_shipped_config_loads(name: str) -> None:
    config = Config.load(name)
    assert config == Config.load(configs.files()[name])
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config


def test_default_names_every_field_of_a_body() -> None:
    written = tomllib.loads(configs.files()["default"].read_text())
    assert written.pop("body").keys() == {name for name, spec in FIELDS.items() if spec.table == "body"}
    assert written.keys() == {name for name, spec in FIELDS.items() if not spec.table}


def test_a_size_that_nobody_sets_is_that_of_the_target() -> None:
    """In numbers where the target has a name, as in 0.1.0; "auto" as long as a file was not read."""
    own = Config(target="castle.npy")
    assert own.size == "auto" == Config(size="auto", target="a/b.glb").size
    with pytest.raises(InputError, match=r"config: size: found 'auto', allowed three numbers.*castle\.npy"):
        _ = own.horizon
    assert Config().given_size == "auto" and Config().replace(target="castle.npy").size == "auto"
    assert own.replace(target="torus").lattice == (10, 18, 14)
    asked = Config(size=(10, 18, 14))
    assert asked == Config() and asked.replace(target="castle.npy").size == (10, 18, 14), "what was asked for stays"
    assert Config.from_dict(tomllib.loads(Config().to_toml())).given_size == "auto", "a written default is no choice"
    assert Config(size=(1, 40, 40)).steps_range == (45, 90)


# ---- strictness ----------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("iterations", True),
    ("iterations", "3"),
    ("iterations", 3.0),
    ("iterations", 0),
    ("iterations", None),
    ("iterations", 10**5000),
    ("iterations", [3]),
    ("learning_rate", "1e-3"),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("learning_rate", 0),
    ("learning_rate", -1),
    ("learning_rate", True),
    ("learning_rate", 10**400),
    ("learning_rate", 1.5),
    ("report", 1),
    ("report", "no"),
    ("report", None),
    ("target", ""),
    ("target", 3),
    ("target", "a\0b"),
    ("target", "\ud800"),
    ("target", b"frog"),
    ("optimizer", "sgd"),
    ("optimizer", ""),
    ("optimizer", ["adam"]),
    ("size", (11, 20)),
    ("size", (11, 20, 15, 3)),
    ("size", (11, 20, 0)),
    ("size", 16),
    ("size", "11"),
    ("size", (11, 20, 15.0)),
    ("size", {11, 20, 15}),
    ("hidden", ()),
    ("hidden", [0]),
    ("hidden", [8] * 9),
    ("steps", "autos"),
    ("steps", (9, 3)),
    ("steps", (0, 3)),
    ("steps", 9),
    ("memory", 0),
    ("memory", "all"),
    ("memory", True),
    ("damage_severity", (0.6, 0.1)),
    ("damage_severity", (0.0, 0.5)),
    ("damage_severity", (0.5, 1.0)),
    ("milestones", (0.8, 0.2)),
    ("milestones", (0.5, 0.5)),
    ("betas", (0.9, 1.0)),
    ("alive_threshold", 1.0),
    ("fire_rate", 0),
    ("average", 1.0),
    ("random_seed", 2**31),
    ("random_seed", -1),
    ("keep_checkpoints", 1),
    ("losses", {"rgba": -1}),
    ("losses", {"rgba": float("nan")}),
    ("losses", {"rgba": "1"}),
    ("losses", {"": 1}),
    ("losses", ["rgba"]),
    ("losses", {3: 1.0}),
    ("target_options", {"a": object()}),
    ("target_options", {"a": None}),
    ("target_options", {"a": float("inf")}),
    ("damages", "sphere"),
    ("damages", [""]),
    ("plugins", [3]),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:20] if isinstance(value, str) else "")
def test_a_wrong_value_is_one_line(name: str, value: Any) -> None:
    (line,) = lines_of(**{name: value})
    assert line.startswith(f"Config: {name}: found ")
    assert ", allowed " in line
    assert len(line) < 500


def test_what_is_accepted() -> None:
    values: dict[str, Any] = dict(
        learning_rate=1,
        size=(np.int64(4), 5, 6),
        fire_rate=np.float32(0.5),
        target=Path("a/own.npy"),
        hidden=[8, 8],
        losses={"rgba": 1},
        memory=4,
        target_options={"margin": 2, "levels": (1, 2), "deep": {"on": True}},
    )
    config = Config(**values)
    assert config.learning_rate == 1.0
    assert type(config.learning_rate) is float
    assert all(type(side) is int for side in config.size)
    assert config.target == "a/own.npy"
    assert config.losses == {"rgba": 1.0}
    assert config.target_options["levels"] == [1, 2], "as TOML gives it back"


def test_all_errors_at_once_with_the_nearest_names() -> None:
    lines = lines_of(learing_rate=1e-3, batch=0, optimizer="adm", steps="atuo")
    assert len(lines) == 4
    text = "\n".join(lines)
    assert "did you mean 'learning_rate'?" in text
    assert "did you mean 'adam'?" in text
    assert "did you mean 'auto'?" in text
    assert "from 1 to 4_096" in text


CONTRADICTIONS = [
    (dict(batch=200, pool_size=64), "batch", "pool_size = 64"),
    (dict(batch=4, damage_count=4), "damage_count", "batch - 1 = 3"),
    (dict(batch=8, accumulate=3), "accumulate", "divisor of batch = 8"),
    (dict(damages=()), "damages", "at least one"),
    (dict(losses={"rgba": 0.0, "overflow": 0}), "losses", "at least one weight above 0"),
    (dict(target_options={"margin": 1, "size": 3}), "target_options", "without size"),
    (dict(target_options={"name_or_path": "frog"}), "target_options", "without name_or_path"),
    (dict(schedule="step", milestones=()), "milestones", "at least one"),
]


@pytest.mark.parametrize(("values", "name", "words"), CONTRADICTIONS)
def test_fields_that_contradict_each_other(values: dict[str, Any], name: str, words: str) -> None:
    (line,) = lines_of(**values)
    assert line.startswith(f"Config: {name}: ")
    assert words in line


@pytest.mark.parametrize("row", CLASHES, ids=lambda row: f"{row.field}, {row.other}")
def test_settings_of_the_table_that_can_not_go_together(row: Clash) -> None:
    """Each row is refused for all its values, in one line that says what is allowed and why; and for no others."""
    plain = {name: spec.default for name, spec in FIELDS.items()} | {"rule": "mine", "gradient": "none"}
    assert not list(clashing(plain))

    def each(values: Any) -> list[Any]:
        return [number for one in values for number in (one[:2] if isinstance(one, range) else [one])]

    for one, other in itertools.product(each(row.values), each(row.others)):
        ((names, allowed),) = clashing(plain | {row.field: one, row.other: other})
        assert names == (row.field, row.other)
        assert allowed.startswith(row.way) and row.why in allowed and f"{row.other} = " in allowed
    assert plain[row.field] not in row.values, "what needs no asking for clashes with nothing"


def test_contradictions_end_where_they_do_not_matter() -> None:
    Config(batch=200, regime="growing")
    Config(batch=2, regime="persistent")
    Config(damages=(), damage_count=0)
    (line,) = lines_of(batch="many", pool_size=4)
    assert "batch" in line, "a wrong field is not spoken of twice"


def test_replace_checks_again() -> None:
    config = Config(iterations=10)
    assert config.replace(batch=4).iterations == 10
    assert config.replace() == config
    with pytest.raises(InputErrors, match=r"iteration: .*did you mean 'iterations'"):
        config.replace(iteration=3)
    with pytest.raises(InputErrors, match="batch"):
        config.replace(batch=1000, pool_size=64)


def test_a_file_that_is_gone_is_not_guessed(tmp_path: Path) -> None:
    """Only the body that a run keeps is looked for beside its config, wherever the run was moved."""
    for name, found in {"body.npy": "/gone/body.npy", "target.npy": str(tmp_path / "target.npy")}.items():
        (tmp_path / name).write_bytes(b"")
        (tmp_path / "config.toml").write_text(f'[body]\ntarget = "/gone/{name}"\n')
        assert Config.load(tmp_path / "config.toml").target == found


def test_records_do_not_share_tables() -> None:
    Config().losses["rgba"] = 3.0
    assert Config().losses == {}
    options = {"margin": 2}
    config = Config(target_options=options)
    options["margin"] = 9
    assert config.target_options == {"margin": 2}


def test_names_are_checked_against_a_registry() -> None:
    config = Config(damages=("sphere", "boxx"))
    config.require_known("damages", {"sphere": 1, "boxx": 2})
    with pytest.raises(InputErrors, match=r"damages: found 'boxx', allowed box, sphere; did you mean 'box'"):
        config.require_known("damages", ["sphere", "box"])


# ---- files ---------------------------------------------------------------------------------------------------------

FILES = {
    "unknown.toml": (b"learing_rate = 1e-3\n", "did you mean 'learning_rate'"),
    "no_equals.toml": (b"batch = 4\nlearning_rate 1e-3\n", "line 2, column 15"),
    "twice.toml": (b"batch = 4\nbatch = 8\n", "each key once"),
    "tab.toml": (b"batch = \t[\n", "line 2, column 1"),
    "nul.toml": (b'target = "a\0b"\n', "line 1, column 12"),
    "latin.toml": (b"batch = 4\n# caf\xe9\n", "line 2: found byte 0xe9"),
    "deep.toml": (b"x = " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
    "long_number.toml": (b"batch = " + b"9" * 5000, "number"),
    "large.toml": (b"# " + b"x" * 1_000_001, "at most 1,000,000 bytes"),
    "yaml.toml": (b"batch: 4\n", "line 1"),
    "date.toml": (b"target = 2020-01-01\n", "target: found datetime.date"),
    "nan.toml": (b"learning_rate = nan\n", "learning_rate: found nan"),
    "table.toml": (b"[training]\nbatch = 4\n", "training: found an unknown field"),
    "lfs.toml": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "line 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_line(name: str, tmp_path: Path) -> None:
    data, words = FILES[name]
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        Config.load(file)
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text
    assert words in text
    assert ", allowed " in text


def test_a_file_with_many_errors_tells_all(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("batch = 0\nlearning_rate = 'x'\nsise = [1, 2, 3]\n")
    with pytest.raises(InputErrors) as caught:
        Config.load(file)
    assert len(str(caught.value).splitlines()) == 3


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sources: list[tuple[str | Path, str]] = [
        (tmp_path, "a folder"),
        (tmp_path / "none.toml", "no such file"),
        (tmp_path / "pipe", "a device or pipe"),
        ("defualt", "did you mean 'default'"),
        ("a\0b", "allowed a TOML file or a shipped config"),
        ("x" * 5000, "allowed a TOML file or a shipped config"),
    ]
    for source, words in sources:
        with pytest.raises(InputError) as caught:
            Config.load(source)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbfbatch = 4\r\n")
    assert Config.load(file).batch == 4


# ---- any -----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
plain = st.recursive(
    texts | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(bool), inner, max_size=3),
    max_leaves=6,
)


def one(spec: Spec) -> st.SearchStrategy[Any]:
    """Any value that one entry of the field may have."""
    low = spec.low if spec.low is not None else spec.above
    high = spec.high if spec.high is not None else spec.below
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.item is bool:
        return st.booleans()
    if spec.item is int:
        return st.integers(int(low or 0), int(high or 0))
    if spec.item is float:
        within = {"exclude_min": spec.above is not None, "exclude_max": spec.below is not None, "allow_infinity": False}
        return st.floats(low, high, **within)
    return texts if spec.may_be_empty else texts.filter(bool)


def valid(name: str) -> st.SearchStrategy[Any]:
    spec = FIELDS[name]
    bound = {"batch", "pool_size", "accumulate", "damage_count", "damages", "milestones", "schedule", "executor"}
    bound |= {"condition", "condition_codes", "switch_rate"}
    if name in bound | {name for row in CLASHES for name in (row.field, row.other)} - {"rule"}:
        return st.just(spec.default)  # bound to each other
    if spec.is_table:
        tables = st.dictionaries(texts.filter(bool), one(spec) if spec.item is float else plain, max_size=3)
        return tables.filter(lambda table: not table or any(table.values())) if name == "losses" else tables
    values = one(spec)
    if spec.count and not spec.alone:
        values = st.lists(values, min_size=spec.count[0], max_size=min(spec.count[1], 5))
        values = values.map(sorted) if spec.order else values
    return values | st.sampled_from(spec.words) if spec.words else values


@pytest.mark.slow
@settings(max_examples=examples(60))
@given(st.fixed_dictionaries({name: valid(name) for name in FIELDS}))
def test_any_config_comes_back_from_toml(values: dict[str, Any]) -> None:
    config = Config.from_dict(values)
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config
    assert Config(**config.replace()._values()) == config


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5) | st.just(object()),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=examples(150))
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text() | st.integers(), garbage, max_size=6))
def test_any_garbage_gives_errors_and_nothing_else(raw: dict[Any, Any]) -> None:
    try:
        config = Config.from_dict(raw, "garbage.toml")
    except InputErrors as errors:
        lines = str(errors).splitlines()
        assert len(lines) == len(errors.errors)
        assert all(line.startswith("garbage.toml: ") for line in lines)
    else:
        assert Config.from_dict(tomllib.loads(config.to_toml())) == config


@settings(max_examples=examples(60))
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_in_a_file_give_errors_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(data)
    try:
        Config.load(file)
    except InputError as error:
        assert all(line.startswith(f"{file}: ") for line in str(error).splitlines())


def test_a_named_body_has_one_size_wherever_it_is_left_open() -> None:
    """In a config and in `targets.load(name, size="auto")`; these two modules don't know each other."""
    assert HOMES == doors.HOMES and HOMES.keys() <= TARGETS.keys()
    for name in ("cross", "castle"):
        assert load(name, size="auto").size == Config(target=name).size
