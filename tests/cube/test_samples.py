"""The five questions that a cube can be tried with."""

import json
from pathlib import Path

from nca3d.config import Config
from nca3d.cube.questions import Pair, Questions, read_questions
from nca3d.cube.samples import Sample, samples_of, samples_of_record, samples_of_run


def test_five_of_the_shipped_set_are_of_every_kind_trained_on_and_held_out() -> None:
    questions = read_questions("lattice")
    samples = samples_of(questions)
    kinds = {pair.question: pair.kind for pair in questions.pairs}
    assert len(samples) == len({sample.question for sample in samples}) == 5
    assert {kinds[sample.question] for sample in samples} == set(kinds.values())
    assert [sample.split == "train" for sample in samples] == [True, False, True, False, True]
    assert all(Pair(*sample, kinds[sample.question]) in questions.pairs for sample in samples)


def test_small_sets_give_what_they_have() -> None:
    two = Questions("two", tuple(Pair(f"what is {n}", f"it is {n}", "train") for n in range(2)))
    assert len(samples_of(two)) == 2
    odd = Questions("odd", (*two.pairs, Pair("what is left", "the right", "elsewhere")))
    assert {sample.split for sample in samples_of(odd)} == {"train", "elsewhere"}


def test_a_run_whose_set_is_gone_or_another_has_none(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"question": f"what is {n}", "answer": f"it is {n}", "split": "train"} for n in range(6)]
    file.write_text("\n".join(map(json.dumps, rows)))
    Config(regime="answering", rule="gmlp", questions=str(file)).save(tmp_path / "config.toml")
    digest = read_questions(file).digest
    assert len(samples_of_run(tmp_path, digest)) == len(samples_of_run(tmp_path, None)) == 5
    assert samples_of_run(tmp_path, "another set") == ()
    file.unlink()
    assert samples_of_run(tmp_path, digest) == ()


def test_a_record_gives_only_what_is_text() -> None:
    row = {"question": "what is 2", "answer": "it is 2", "split": "train"}
    assert samples_of_record([{**row, "later": 1}, {**row, "question": 3}, {**row, "answer": " "}, "what"]) == (
        Sample("what is 2", "it is 2", "train"),
    )
    assert samples_of_record(None) == samples_of_record({"question": "what"}) == ()
