"""The shipped questions: every answer is right (worked out here from the question alone), every split what it says."""

import re
import runpy
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nca3d.cube.questions import FOLDER, Pair, read_questions

SET = read_questions("lattice")
COMPASS = dict(
    zip(
        ["north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"],
        range(0, 360, 45),
        strict=True,
    )
)
TURN = {"half-right": 45, "right": 90, "sharp-right": 135, "around": 180, "half-left": -45, "left": -90, "sharp-left": -135}
COUNT = dict(zip(["one", "two", "three", "four", "five", "six", "seven", "eight"], range(1, 9), strict=True))
NUMBER = "|".join(COUNT)


def named(table: dict[str, int], value: int) -> str:
    (name,) = [name for name, there in table.items() if there == value]
    return name


def parts(pair: Pair) -> tuple[str, ...]:
    """What a question is made of, read from its words."""
    text = pair.question.lower()
    if pair.kind == "compass":
        (heading,) = [word for word in re.findall(r"[\w-]+", text) if word in COMPASS]
        turn = "not" if "do not turn" in text else re.search(r"you turn ([\w-]+)|and turn ([\w-]+)", text)
        if not isinstance(turn, str):
            turn = turn[1] or turn[2]
        carried = re.search(r"(?:carrying|holding|with) the (\w+)", text)
        assert carried is not None
        return heading, turn, carried[1]
    if pair.kind == "lattice":
        places = [re.search(rf"{axis} ({NUMBER})", text) for axis in ("layer", "row", "column")]
        move = re.search(r"one (layer|row|column) (further|back)", text)
        assert all(places) and move is not None
        return (*(place[1] for place in places if place), f"{move[1]} {move[2]}")
    first, second = re.findall(rf"\b({NUMBER})\b", text)
    (colour,) = set(re.findall("red|blue|green|yellow|white|black|grey|pink", text))
    assert ("more" in text) != ("lose" in text)
    return first, second, colour, "more" if "more" in text else "lose"


def solved(pair: Pair) -> str:
    found = parts(pair)
    if pair.kind == "compass":
        heading, turn, carried = found
        there = (COMPASS[heading] + TURN.get(turn, 0)) % 360
        return f"Now you face {named(COMPASS, there)} with the {carried}."
    if pair.kind == "lattice":
        place = dict(zip(("layer", "row", "column"), (COUNT[word] for word in found[:3]), strict=True))
        axis, way = found[3].split()
        place[axis] += {"further": 1, "back": -1}[way]
        assert 1 <= place["layer"] <= 3 and 1 <= place["row"] <= 4 and 1 <= place["column"] <= 4
        return (
            f"Layer {named(COUNT, place['layer'])}, row {named(COUNT, place['row'])}, column {named(COUNT, place['column'])}."
        )
    first, second, colour, way = found
    count = COUNT[first] + COUNT[second] if way == "more" else COUNT[first] - COUNT[second]
    assert count > 0
    return f"{named(COUNT, count).title()} {colour} {'cell' if count == 1 else 'cells'}."


def test_it_is_what_the_generator_makes():
    file = FOLDER / "lattice.jsonl"
    text = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "generate_questions.py"))["text"]
    assert file.read_text(encoding="utf-8") == text()
    assert file.stat().st_size < 400_000


def test_sizes_and_shares():
    assert len(SET.pairs) >= 1200
    splits = Counter(pair.split for pair in SET.pairs)
    for split, share in {"train": 0.65, "validation": 0.08, "test": 0.12, "compose": 0.15}.items():
        assert splits[split] / len(SET.pairs) == pytest.approx(share, abs=0.02)
    kinds = Counter(pair.kind for pair in SET.pairs)
    assert set(kinds) == {"compass", "lattice", "arithmetic", "dialogue"}
    assert kinds["compass"] > len(SET.pairs) / 2
    assert kinds["dialogue"] >= 120


def test_no_question_twice():
    assert len({pair.question for pair in SET.pairs}) == len(SET.pairs)
    assert len({" ".join(sorted(re.findall(r"[\w-]+", p.question.lower()))) for p in SET.pairs if p.kind == "compass"}) == len(
        [pair for pair in SET.pairs if pair.kind == "compass"]
    )


@pytest.mark.parametrize("kind", ["compass", "lattice", "arithmetic"])
def test_every_answer_is_right(kind):
    pairs = [pair for pair in SET.pairs if pair.kind == kind]
    assert len(pairs) > 200
    for pair in pairs:
        assert pair.answer == solved(pair), pair.question


def test_dialogue_that_can_be_worked_out():
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    asked = [
        pair for pair in SET.pairs if pair.kind == "dialogue" and re.search("day.*(after|follows)|After .*day", pair.question)
    ]
    assert len(asked) == 21
    for pair in asked:
        (day,) = [day for day in days if day in pair.question]
        assert pair.answer == f"{days[(days.index(day) + 1) % 7]}."
    assert 15 * 15 * 11 == 2475
    assert {pair.answer for pair in SET.pairs if "fifteen times" in pair.question} == {
        "Two thousand four hundred and seventy-five cells."
    }
    degrees = {"Forty-five": 45, "Ninety": 90, "One hundred and thirty-five": 135}
    for pair in SET.pairs:
        turn = re.search(r"((?:half|sharp)-(?:left|right))", pair.question)
        if pair.kind == "dialogue" and turn:
            assert degrees[pair.answer.removesuffix(" degrees.")] == abs(TURN[turn[1]])


def test_every_held_out_answer_was_given_in_training():
    """A retrieval of an answer that was never right would be luck."""
    given = {pair.answer for pair in SET.of("train")}
    assert given == set(SET.answers)


def test_dialogue_has_two_phrasings_in_training_for_each_held_out_one():
    count = Counter(pair.answer for pair in SET.of("train") if pair.kind == "dialogue")
    held_out = [pair for pair in SET.pairs if pair.kind == "dialogue" and pair.split != "train"]
    assert len(held_out) >= 40
    assert all(count[pair.answer] >= 2 for pair in held_out)


def test_test_asks_what_was_trained_in_other_words():
    trained = {(pair.kind, parts(pair)): pair.question for pair in SET.of("train") if pair.kind != "dialogue"}
    for pair in [*SET.of("test"), *SET.of("validation")]:
        if pair.kind != "dialogue":
            assert trained[pair.kind, parts(pair)] != pair.question


def test_compose_composes():
    """Never the whole combination, but each two of its words together."""
    whole: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    pairs: dict[str, set[object]] = defaultdict(set)
    for pair in SET.of("train"):
        if pair.kind != "dialogue":
            found = parts(pair)
            whole[pair.kind].add(found)
            pairs[pair.kind] |= set(combinations(enumerate(found), 2))
    for pair in SET.of("compose"):
        found = parts(pair)
        assert found not in whole[pair.kind]
        assert set(combinations(enumerate(found), 2)) <= pairs[pair.kind]
    assert Counter(pair.kind for pair in SET.of("compose"))["compass"] >= 150


def test_all_64_headings_and_turns_are_trained():
    seen = {parts(pair)[:2] for pair in SET.of("train") if pair.kind == "compass"}
    assert len(seen) == 64


def test_headings_and_turns_are_never_neighbours():
    """Otherwise a bag of word pairs would hold the sum of both, and a linear model could read the answer off it."""
    turns = "|".join(["not", "turn", *TURN])
    for pair in SET.pairs:
        if pair.kind == "compass":
            assert not re.search(rf"({'|'.join(COMPASS)}) ({turns})\b", re.sub(r"[^\w\s-]", "", pair.question.lower()))


@pytest.mark.slow
def test_a_small_network_composes_and_a_linear_model_can_not():
    pytest.importorskip("sklearn")
    from nca3d.cube.teacher.tfidf import fit_tfidf

    train = SET.of("train")
    teacher = fit_tfidf([pair.question for pair in train] + list(SET.answers), 225)
    answers = F.normalize(teacher.embed(SET.answers), dim=1)
    place = {answer: n for n, answer in enumerate(SET.answers)}

    def told(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = SET.of(split)
        return teacher.embed([pair.question for pair in pairs]), torch.tensor([place[pair.answer] for pair in pairs])

    x, right = told("train")
    asked, wanted = told("compose")
    wide = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
    ridge = torch.linalg.solve(wide.T @ wide + 1e-2 * torch.eye(226), wide.T @ answers[right].double()).float()
    linear = (F.normalize(torch.cat([asked, torch.ones(len(asked), 1)], dim=1) @ ridge, dim=1) @ answers.T).argmax(dim=1)

    torch.manual_seed(0)
    size = x.std()
    network = torch.nn.Sequential(torch.nn.Linear(225, 256), torch.nn.GELU(), torch.nn.Linear(256, 225))
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(500):
        batch = torch.randint(len(x), (128,))
        likeness = F.normalize(network(x[batch] / size), dim=1) @ answers.T
        optimizer.zero_grad()
        F.cross_entropy(20 * likeness, right[batch]).backward()
        optimizer.step()
    composed = (network(asked / size) @ answers.T).argmax(dim=1)
    by_network, by_ridge = (float((found == wanted).float().mean()) for found in (composed, linear))
    assert by_network > 0.6
    assert by_ridge < 0.25
