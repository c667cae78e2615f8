"""The cheapest rows of `make faults`: what is lost is seen, what is kept is seen, and both land in the document."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def reliability(monkeypatch):
    """The package of the rows, as the command finds it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def peers():
    """Ours, and torch's save: the one that loses."""
    from reliability.peers import Ours, Torch

    return Ours(), Torch()


def test_a_save_without_room_is_lost_by_one_and_kept_by_the_other(peers, tmp_path):
    from reliability.saves import file_limit

    ours, plain = peers
    assert file_limit(ours, tmp_path / "ours") == "kept, says why, file named"
    assert file_limit(plain, tmp_path / "plain") == "**lost**, doesn't say why"


def test_a_flipped_bit_is_noticed_by_one_and_silent_in_the_other(peers, tmp_path, monkeypatch):
    from reliability import files

    monkeypatch.setattr(files, "FLIPS", 6)
    ours, plain = peers
    assert files.flipped(ours, tmp_path / "ours") == "noticed 6 of 6, previous used"
    assert files.flipped(plain, tmp_path / "plain") == "**silent 6 of 6**"


def test_a_link_is_followed_by_one_and_replaced_by_the_other(peers, tmp_path):
    from reliability.files import link_there

    ours, plain = peers
    assert link_there(ours, tmp_path / "ours") == "work kept, saved"
    assert link_there(plain, tmp_path / "plain") == "**written through the link**"


def test_what_is_found_after_a_fault_is_told_apart(peers, tmp_path):
    from reliability.files import noticed
    from reliability.peers import found, state_of
    from reliability.saves import kept

    _, plain = peers
    for step, words in ((1, "old"), (2, "new"), (3, "wrong")):
        plain.save(tmp_path, step, state_of(step, 0.01))
        assert found(plain, tmp_path, {1: 0.01, 2: 0.01}) == words
    plain.path(tmp_path).write_bytes(b"")
    assert found(plain, tmp_path, {1: 0.01}).startswith("EOFError")
    assert kept(["old", "new"]) == "kept 2 of 2"
    assert kept(["old", "EOFError: ", "wrong"]) == "**lost 1 of 3, silently wrong 1**"
    assert noticed(["old", "old", "new"]) == "noticed 2 of 3, 1 without effect, previous used"
    assert noticed(["EOFError: ", "old"]) == "noticed 2 of 2, nothing loaded"
    assert noticed(["old", "wrong"]) == "**silent 1 of 2**"


def test_children_are_seen_to_be_killed_to_hang_and_to_fail():
    from reliability.children import killed_after, run
    from reliability.inputs import verdict

    def forever():
        while True:
            pass

    def failing():
        raise ValueError("the file x.pt is no good")

    assert killed_after(forever, 0.02).code == -9
    assert (hung := run(forever, timeout=0.1)).code is None and verdict(hung, "x.pt") == "**hangs**"
    assert (failed := run(failing)).code == 1 and verdict(failed, "x.pt") == "refused, file named (ValueError)"
    assert (done := run(lambda: 3)).value == 3 and verdict(done, "x.pt") == "**accepted**"


@pytest.mark.slow
def test_the_command_writes_its_part_of_the_document_and_nothing_else(tmp_path):
    document = tmp_path / "reliability.md"
    document.write_text("before\n<!-- make faults: begin -->\nold\n<!-- make faults: end -->\nafter\n")
    words = ["--rows", "files of 5 MB", "--peers", "nca3d", "torch.save", "--write", str(document)]
    command = [sys.executable, str(BENCHMARKS / "faults.py"), *words, "--python", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = document.read_text()
    row = "| files of 5 MB at most (RLIMIT_FSIZE) | kept, says why, file named | **lost**, doesn't say why |"
    assert row in done.stdout and row in text
    assert text.startswith("before\n") and text.endswith("<!-- make faults: end -->\nafter\n") and "old" not in text


def test_a_peer_that_is_missing_says_so(tmp_path):
    from reliability.table import put_into, tables

    parts = {"saves": ("Saves", ["full", "killed"])}
    table = tables(parts, {"nca3d": {"full": "kept", "killed": "kept"}, "Lightning": None, "DCP": {"full": "lost"}})
    assert "| full | kept | not installed | lost |" in table and "| killed | kept | not installed | not reached |" in table
    (tmp_path / "without.md").write_text("no place for it")
    with pytest.raises(ValueError, match="allowed a document that has them"):
        put_into(tmp_path / "without.md", table)
