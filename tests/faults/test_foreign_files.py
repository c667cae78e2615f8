"""Files of others under our names: code in them is not run, archives are not unpacked, and each is one line."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

import nca3d
from nca3d.cli import main
from nca3d.errors import InputError
from nca3d.files import load_tensors


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def packed(name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def saved_by_torch() -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, file)
    return file.getvalue()


FILES = {
    "text": b"hello\n",
    "a page": b"<!doctype html><title>404</title>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "nothing": b"",
    "torch.save": saved_by_torch(),
    # Of 100 MB, in 100 KB: nobody unpacks it.
    "a bomb": packed("archive/data.pkl", bytes(100_000_000), zipfile.ZIP_DEFLATED),
}
DOORS = {
    "evaluate": lambda file: ["evaluate", file],
    "render": lambda file: ["render", file],
    "resume": lambda file: ["train", "--resume", file],
    "init": lambda file: ["train", "--init", file, "--iterations", "1"],
    "target": lambda file: ["train", "--target", file, "--iterations", "1"],
    "config": lambda file: ["train", file],
    "compare": lambda file: ["compare", file, file],
}


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".ckpt", ".safetensors", ".npy", ".npz"])
@pytest.mark.parametrize("door", DOORS)
def test_a_pickle_is_never_run(door, suffix, tmp_path, monkeypatch, capsys):
    """B1."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "ran"
    Path(f"x{suffix}").write_bytes(pickle.dumps(Code(mark)))
    assert main(DOORS[door](f"x{suffix}")) == 2
    err = capsys.readouterr().err
    assert not mark.exists() and ": found " in err and ", allowed " in err and "Traceback" not in err
    with pytest.raises(ValueError, match=": found "):
        nca3d.load(f"x{suffix}")
    assert not mark.exists() and os.listdir() == [f"x{suffix}"]


@pytest.mark.parametrize(
    ("door", "content"),
    # An empty config is one: it leaves everything at its default.
    [(door, content) for door in DOORS for content in FILES if (door, content) != ("config", "nothing")],
)
def test_what_is_no_checkpoint_is_one_line(door, content, tmp_path, monkeypatch, capsys):
    """B2, B3."""
    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(FILES[content])
    assert main(DOORS[door]("model.pt")) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert lines and all(": found " in line and ", allowed " in line for line in lines), said.err
    assert "model.pt" in said.err and os.listdir() == ["model.pt"]


PART = '{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}'
HEAD = '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
BROKEN = {
    "a header of 2**63 bytes": (2**63).to_bytes(8, "little") + HEAD.encode(),
    "a header of 100 MB and one": (100_000_001).to_bytes(8, "little") + HEAD.encode(),
    "no JSON": b"\x05\0\0\0\0\0\0\0{{{{{",
    "nothing": b"",
    "seven bytes": bytes(7),
    "too short": len(HEAD).to_bytes(8, "little") + HEAD.encode() + bytes(7),
    "too long": len(HEAD).to_bytes(8, "little") + HEAD.encode() + bytes(9),
    **{
        words: len(head).to_bytes(8, "little") + head.encode() + bytes(8)
        for words, head in {
            "an unknown dtype": HEAD.replace("F32", "F33"),
            "a shape that overflows": HEAD.replace("[2]", f"[{2**40},{2**40}]"),
            "a negative side": HEAD.replace("[2]", "[-2]"),
            "tensors that overlap": f'{{"a":{PART % (2, 0, 8)},"b":{PART % (1, 4, 8)}}}',
            "a hole": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            "offsets the wrong way": HEAD.replace("[0,8]", "[8,0]"),
            "deep nesting": "[" * 100_000,
        }.items()
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tensors_are_one_line(name):
    """B12."""
    with pytest.raises(InputError, match=r"^file: safetensors: found .*, allowed [^\n]*$"):
        load_tensors(BROKEN[name], "file")


def test_whole_tensors_are_read():
    assert load_tensors(safetensors.torch.save({"w": torch.arange(2.0)}), "file")["w"].tolist() == [0, 1]


@pytest.mark.parametrize("name", ["../out.npy", "/tmp/nca3d-out.npy", "a/../../out.npy"])
def test_nothing_is_unpacked_beside_an_archive(name, tmp_path, monkeypatch, capsys):
    """B18."""
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("x.npz").write_bytes(packed(name, b"\x93NUMPY"))
    assert main(["targets", "x.npz"]) == 2
    assert "x.npz" in capsys.readouterr().err
    assert os.listdir() == ["x.npz"] and os.listdir("..") == ["in"] and not Path("/tmp/nca3d-out.npy").exists()
