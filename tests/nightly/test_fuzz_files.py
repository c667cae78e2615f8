"""Broken files end in one line: bytes of valid ones are flipped, put in, taken out and doubled, values of JSON exchanged."""

import contextlib
import copy
import json
import resource
import secrets
import shutil
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from file_samples import OPTIONS, SAMPLES, SIZE, SLOW, broken
from hypothesis import given
from hypothesis import strategies as st
from odd_files import at_once

import nca3d
from nca3d import checkpoint
from nca3d.errors import ArgumentError, InputError
from nca3d.files import file_entry, load_tensors, seal
from nca3d.reports.report import Report, read_report
from nca3d.targets.doors import READERS

pytestmark = pytest.mark.nightly
# Broken targets of all formats together.
FILES = 20_000
#: far more than any of these files takes: a reader that is still at it hangs
LONGEST = 60
Reader = Callable[[Path], object]


def load_target(path: Path, **options: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken mesh has holes, and says so
        nca3d.targets.load(path, size=SIZE, **options)


def load_weights(path: Path) -> None:
    load_tensors(path.read_bytes(), path)


def one_report() -> Report:
    report = Report({"iterations": 3}, series={"growth": {"steps": [1, 2], "iou": [0.1, None]}}, about={"name": "zoo:cross"})
    report.put(("grow_iou",), [0.5, 0.75, None])
    report.put(("heal_iou", "sphere"), [0.5, 1.0])
    report.put(("retrieval", "top1"), [0.0, 1.0])
    return report


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Reader]]:
    """A valid file of each kind that is no target, and what reads it."""
    folder = tmp_path_factory.mktemp("valid")
    nca3d.Config().save(folder / "config.toml")
    one_report().to_json(folder / "report.json")
    shipped = resources.files("nca3d") / "zoo" / "cross.safetensors"
    (folder / "cross.safetensors").write_bytes(shipped.read_bytes())
    readers: dict[str, tuple[str, Reader]] = {
        "toml": ("config.toml", nca3d.Config.load),
        "report": ("report.json", read_report),
        "safetensors": ("cross.safetensors", load_weights),
    }
    return {kind: (folder / name, read) for kind, (name, read) in readers.items()}


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one iteration with one checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    sizes: dict[str, Any] = {"size": (8, 9, 8), "channels": 8, "hidden": (8,), "batch": 2, "pool_size": 4, "steps": (2, 3)}
    config = nca3d.Config(target="cross", iterations=1, report=False, out=str(folder), **sizes)
    nca3d.train(config, progress=False)
    return folder


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One to four changes of some bytes, half of them in the header."""
    place = st.floats(0, 1) | st.floats(0, 0.05)
    change = st.tuples(st.sampled_from("fidcb"), place, st.binary(min_size=1, max_size=8))
    changes = draw(st.lists(change, min_size=1, max_size=4))

    def apply(data: bytes) -> bytes:
        for kind, share, some in changes:
            at = int(share * len(data))
            if kind == "f":
                data = data[:at] + some + data[at + len(some) :]
            elif kind == "b":  # one bit of one byte, the fault that disks make
                data = data[:at] + bytes(byte ^ 1 << some[0] % 8 for byte in data[at : at + 1]) + data[at + 1 :]
            elif kind == "i":
                data = data[:at] + some + data[at:]
            elif kind == "d":
                data = data[:at] + data[at + 64 * len(some) :]
            else:
                data = data[:at] + data[max(0, at - 64) :]
        return data

    return apply


# Finite or not, deep or long: whatever JSON can say where another value was expected.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.integers(-2, 9) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def exchange(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Exchanges, or takes out, up to three values somewhere in a JSON table."""
    changes = draw(
        st.lists(st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.booleans(), VALUES), min_size=1, max_size=3)
    )

    def apply(table: Any) -> Any:
        table = copy.deepcopy(table)
        for path, taken_out, value in changes:
            place: Any = table
            for depth, turn in enumerate(path):
                keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = keys[turn % len(keys)]
                if depth < len(path) - 1 and isinstance(place[key], dict | list):
                    place = place[key]
                    continue
                if taken_out:
                    del place[key]
                else:
                    place[key] = value
                break
        return table

    return apply


def is_fair(line: str, folder: Path) -> bool:
    """Whether a line has the one form of all refusals, and names a file in the folder."""
    return line.isprintable() and ": found " in line and ", allowed " in line and str(folder) in line


def is_read(read: Reader, path: Path) -> bool:
    """Whether a file is read; otherwise it is refused in lines of the one form that name it. Nothing is written either way."""
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    elsewhere = path.parent.parent / f"{path.parent.name}-elsewhere"
    elsewhere.mkdir(exist_ok=True)
    try:
        with at_once(LONGEST), contextlib.chdir(elsewhere):
            read(path)
    except (InputError, ArgumentError) as error:
        for line in str(error).split("\n"):
            assert is_fair(line, path.parent), line
        return False
    finally:
        assert not list(elsewhere.iterdir()), "nothing is written where the command runs"
        assert before == {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    return True


def resident() -> int:
    """The most bytes that this process or one of its children has held in memory so far."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) << 10


# Each of them takes a process of its own: a format takes two minutes.
OF_CHILDREN = 250
FAST = sorted(set(READERS) - set(SLOW))
OF_EACH = -(-(FILES - OF_CHILDREN * len(set(READERS) & set(SLOW))) // len(FAST))


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_broken_targets_are_read_or_refused_in_one_line(suffix, tmp_path, monkeypatch, capfd):
    """Bytes, bits, numbers and words are exchanged, in packed files behind their checksums; nothing is printed or written."""
    folder, elsewhere = tmp_path / "broken", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path, faults, read = folder / f"body{suffix}", [], 0
    held, seed = resident(), secrets.randbits(60)
    count = (OF_CHILDREN if suffix in SLOW else OF_EACH) // len(SAMPLES[suffix])
    for write in SAMPLES[suffix]:
        write(path)
        data, options, names = path.read_bytes(), OPTIONS.get(write, {}), sorted(folder.iterdir())
        load_target(path, **options)  # else refusals below would have another reason
        for number in range(seed, seed + count):
            path.write_bytes(broken(data, suffix, number))
            try:
                with at_once(LONGEST):
                    load_target(path, **options)
                read += 1
            except InputError as error:
                fair = all(is_fair(line, folder) for line in str(error).split("\n"))
                faults += [] if fair else [f"{suffix} {number}: {error}"]
            except Exception as error:
                faults.append(f"{suffix} {number}: {type(error).__name__}: {error}")
        assert sorted(folder.iterdir()) == names, "nothing is written beside the file"
        for name in names:
            name.unlink()
    assert not list(elsewhere.iterdir()), "nothing is written where the command runs"
    said = capfd.readouterr()
    with capfd.disabled():
        print(f"\n{suffix}: {count * len(SAMPLES[suffix]):,} broken files, {read} of them read, {len(faults)} faults")
    assert not faults, "\n".join(faults[:10])
    assert said == ("", "")
    assert resident() - held < 1 << 30


def test_every_format_has_a_sample():
    assert not set(READERS) - set(SAMPLES)


KINDS = ("toml", "report", "safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_file_is_read(kind, files):
    source, read = files[kind]
    read(source)  # else the test below would see refusals for another reason


@pytest.mark.parametrize("kind", KINDS)
@given(change=damage())
def test_a_broken_file_is_read_or_refused_in_one_line(kind, change, files, tmp_path_factory):
    source, read = files[kind]
    path = tmp_path_factory.mktemp("broken") / source.name
    path.write_bytes(change(source.read_bytes()))
    is_read(read, path)


@given(change=exchange())
def test_a_report_of_another_shape_is_read_or_refused(change, tmp_path_factory):
    path = tmp_path_factory.mktemp("broken") / "report.json"
    path.write_text(json.dumps(change(json.loads(one_report().to_json()))))
    if is_read(read_report, path):
        again = read_report(path)
        assert again.strict().to_json() and again.to_markdown()


@given(change=damage(), place=st.integers(0, 10_000))
def test_a_checkpoint_with_changed_bytes_is_never_used(change, place, one_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(one_run, folder)
    saved = sorted(file for file in (folder / "checkpoints").rglob("*") if file.is_file())
    path = saved[place % len(saved)]
    before = path.read_bytes()
    path.write_bytes(change(before))
    # With one checkpoint there is none to fall back on.
    assert is_read(nca3d.load, folder) == is_read(checkpoint.load, folder) == (path.read_bytes() == before)


@given(change=exchange())
def test_a_checkpoint_that_was_sealed_with_other_scalars_is_read_or_refused(change, one_run, tmp_path_factory):
    """A digest says that a file is as it was written, not that what was written makes sense: another program may have."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(one_run, folder)
    (place,) = (folder / "checkpoints").iterdir()
    scalars = json.loads((place / checkpoint.SCALARS).read_text())
    # What is needed to build the rule; the rest is read when the run goes on.
    changed = change({name: scalars[name] for name in ("rule", "card")})
    data = json.dumps({**{key: scalars[key] for key in scalars.keys() - {"rule", "card"}}, **changed}).encode()
    (place / checkpoint.SCALARS).write_bytes(data)
    manifest = json.loads((place / checkpoint.MANIFEST).read_text())
    manifest["files"][checkpoint.SCALARS] = file_entry(data)
    (place / checkpoint.MANIFEST).write_bytes(seal(manifest))
    is_read(nca3d.load, folder)
