"""The shell: bad input is exit code 2 and one line for each error, with file, field, what was found and what is allowed."""

import pytest
from contract_tools import complaint, frozen, main

BODIES = "ant axolotl channels cross frog gyroid heart jack letter mushroom sphere torus toucan"
NAMES = {
    "rule": (["train", "--rule", "nope"], "conv gmlp"),
    "loss": (
        ["train", "--losses", "nope=1"],
        "classes dialogue internal occupancy overflow reconstruction rest rgba still surface",
    ),
    "loss of bodies": (["train", "--losses", "surface=1"], "rgba occupancy overflow rest still"),
    "damage": (["train", "--damages", "nope"], "box cube half_space limb random_cells shell slab sphere"),
    "damage of a film": (
        ["render", "zoo:cross", "--damage", "9:nope"],
        "sphere box cube limb half_space slab shell random_cells",
    ),
    "target": (["train", "--target", "nope"], BODIES),
    "target, drawn": (["targets", "nope"], BODIES),
    "adapter": (["train", "cube", "--rule-options", "adapter=nope"], "attention autoencoder hierarchical linear"),
    "weights": (["train", "cube", "--rule-options", "weights=nope"], "per_cell shared types low_rank"),
    "executor": (["train", "--executor", "nope"], "auto dense event graph event-approx"),
    "perception": (["train", "--perception", "nope"], "gradient gradient+laplacian isotropic learned"),
    "padding": (["train", "--padding", "nope"], "zeros replicate circular"),
    "regime": (["train", "--regime", "nope"], "growing persistent regenerating answering"),
    "preset": (["evaluate", "zoo:cross", "--preset", "nope"], "quick standard full"),
    "teacher": (["train", "cube", "--teacher", "nope"], "tfidf minilm"),
    "questions": (["train", "cube", "--questions", "nope"], "dialogue lattice JSONL"),
    "questions to embed": (["embed", "nope"], "dialogue lattice JSONL"),
    "style": (["render", "zoo:cross", "--style", "nope"], "voxels surface activity"),
    "setting": (["bench", "nope"], "all quick cube body32 body64 sparse64 sparse128 quick-cube quick-body"),
    "fault": (["doctor", "--inject", "nope"], "flip-bit truncate kill-in-save full-disk"),
    "zoo": (["evaluate", "zoo:nope"], " ".join(frozen("zoo"))),
    "zoo, to begin with": (["train", "--init", "zoo:nope"], " ".join(frozen("zoo"))),
    "config": (["train", "nope"], " ".join(frozen("names")["configs"])),
    "file": (["export", "zoo:cross", "x.nope"], ".pvd .vti .glb .vox .ome.zarr .zarr .npz"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    yield
    assert not (tmp_path / "runs").exists(), "a command that is refused writes nothing"


@pytest.mark.slow
@pytest.mark.parametrize("what", NAMES)
def test_an_unknown_name_is_told_with_those_there_are(what, capsys):
    argv, names = NAMES[what]
    (line,) = complaint(capsys, *argv)
    assert [name for name in names.split() if name not in line] == []


FIELDS = {
    "out of range": (["--batch", "0"], ["--batch", "batch", "0"]),
    "no number": (["--learning-rate", "nan"], ["--learning-rate", "nan"]),
    "of another kind": (["--iterations", "many"], ["--iterations", "many", "integer"]),
    "a size out of range": (["--size", "1", "9", "9"], ["--size", "size", "[1, 9, 9]"]),
    "two fields at odds": (["--batch", "9", "--pool-size", "8"], ["batch", "9", "pool_size = 8"]),
    "missing file": (["--target", "nowhere.npy"], ["nowhere.npy"]),
    "nothing to go on with": (["--resume", "nowhere"], ["nowhere"]),
    "nothing to begin with": (["--init", "nowhere"], ["nowhere", "init"]),
    "an option of no use": (["--target-options", "margn=2"], ["margn", "margin"]),
    "too large": (["--size", "512", "512", "512", "--pool-size", "4096"], ["size", "GiB"]),
}


@pytest.mark.parametrize("what", FIELDS)
def test_a_wrong_value_is_one_line(what, capsys):
    argv, words = FIELDS[what]
    (line,) = complaint(capsys, "train", *argv)
    assert [word for word in words if word not in line] == []


def test_a_misspelt_field_of_a_file_is_told_with_the_nearest(capsys, tmp_path):
    (tmp_path / "own.toml").write_text("learing_rate = 0.1\n")
    (line,) = complaint(capsys, "train", "own.toml")
    assert all(word in line for word in ("own.toml", "learing_rate", "did you mean 'learning_rate'"))


def test_all_errors_at_once(capsys, tmp_path):
    (tmp_path / "own.toml").write_text('learing_rate = 0.1\nbatch = "4"\nfire_rate = 2\n')
    lines = complaint(capsys, "train", "own.toml", "--padding", "reflect", "--iterations", -1)
    assert len(lines) == 5
    for word in ("learing_rate", "batch", "fire_rate", "padding", "iterations"):
        assert sum(word in line for line in lines) == 1
    assert len(complaint(capsys, "evaluate", "zoo:cross", "--samples", 0, "--horizon", 0)) == 2


@pytest.mark.parametrize("verb", ["evaluate", "compare", "render", "answer", "serve"])
def test_a_missing_run_is_one_line(verb, capsys):
    (line,) = complaint(capsys, verb, "nowhere", *(["why"] if verb == "answer" else []))
    assert "nowhere" in line


def test_wrong_counts_and_missing_arguments_are_one_line(capsys):
    """Their wording may change, their code and number may not."""
    for argv in (
        ["train", "--size", "1", "2"],
        ["train", "--batch"],
        ["evaluate"],
        ["train", "quick", "slow"],
        ["answer", "x"],
    ):
        assert main(*argv) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and len(shown.err.strip().splitlines()) == 1 and "Traceback" not in shown.err


def test_a_folder_with_files_in_it_is_kept(capsys, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (line,) = complaint(capsys, "train", "--out", "full")
    assert "full" in line and [file.name for file in (tmp_path / "full").iterdir()] == ["note.txt"]
