"""One rule of several bodies: trained in turns, each against its own target, from its own seed, under its own condition."""

import copy
import json

import numpy as np
import pytest
import torch
from resuming import cut_short, everything, timeless
from tiny_runs import tiny_body

import nca3d
from nca3d.cli import main
from nca3d.config import several
from nca3d.errors import InputError, InputErrors
from nca3d.rules import ConditionalRule
from nca3d.targets.doors import READERS
from nca3d.targets.together import called, load_several
from nca3d.training.draws import draw_batch, switched
from nca3d.training.trainer import Trainer

BODIES = ("sphere", "cross", "torus")
TWO = {
    "target": BODIES,
    "batch": 6,
    "pool_size": 12,
    "steps": (4, 8),
    "ageing": 6,
    "iterations": 12,
    "save_every": 6,
    "log_every": 1,
}


def tiny(**changes) -> nca3d.Config:
    return tiny_body(**{**TWO, "warmup": 0, "random_seed": 3, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"switch_rate": 0.5, "damage_count": 1, "damage_from": 0.0},
        {"condition": "seed", "channels": 10, "regime": "persistent", "accumulate": 2},
        {"condition_codes": "learned", "regime": "growing", "batch": 4},
    ],
)
def test_a_resumed_run_is_the_same_run(tmp_path, changes):
    """Law 11, with bodies that change in mid-life, with codes that are learned, and with seeds that carry them."""
    straight = nca3d.train(tiny(out=str(tmp_path / "straight"), **changes), progress=False)
    cut_short(half := tiny(out=str(tmp_path / "half"), **changes), 6)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)
    one, two = everything(straight), everything(resumed)
    assert one.keys() == two.keys() and [name for name in one if not torch.equal(one[name], two[name])] == []
    assert timeless(straight.metrics)[-6:] == timeless(resumed.metrics)[-6:]


def test_each_body_has_its_own_worst_its_own_seed_and_as_many_slots():
    trainer = Trainer.begin(tiny(condition="seed", channels=10))
    pool = trainer.pool
    assert pool.label.bincount().tolist() == [4, 4, 4] and len(pool.seeds) == 3
    with torch.no_grad():
        trainer.rule.network[-1].weight.copy_(0.01 * torch.ones_like(trainer.rule.network[-1].weight))
    trainer.step()
    batch, prepared, labels, _ = draw_batch(trainer.config, 2, pool, trainer.rule, trainer.task)
    assert labels.bincount().tolist() == [2, 2, 2]
    for label in range(3):
        fresh = prepared.fresh & (labels == label)
        assert int(fresh.sum()) == 1
        assert torch.equal(prepared.states[fresh][0], pool.seeds[label])
    assert not torch.equal(pool.seeds[0], pool.seeds[1])
    assert torch.equal(pool.label[batch.index], labels)


def test_small_batches_take_two_of_some_bodies():
    trainer = Trainer.begin(tiny(batch=4))
    seen = set()
    for _ in range(20):
        labels = trainer.pool.sample(4).label
        assert sorted(labels.bincount().tolist(), reverse=True)[:2] == [2, 2]
        seen |= set(labels.tolist())
    assert seen == {0, 1, 2}


def test_bodies_that_switch_pass_their_label_on():
    labels, fresh = torch.arange(8) % 3, torch.zeros(8, dtype=torch.bool)
    fresh[:3] = True
    config = tiny(switch_rate=1.0)
    for iteration in range(1, 20):
        after = switched(config, iteration, labels, fresh)
        assert torch.equal(after[:3], labels[:3]) and torch.equal(after.bincount(), labels.bincount())
    assert not torch.equal(after, labels)
    assert torch.equal(switched(tiny(), 1, labels, fresh), labels)


def test_a_state_is_judged_by_its_own_target_alone():
    trainer = Trainer.begin(tiny())
    task, goal = trainer.task, trainer.task.draw(1, torch.tensor([2, 0, 2, 1]))
    assert task.condition(task.subset(goal, torch.tensor([1, 3]))).tolist() == [0, 1]
    perfect = torch.zeros(1, trainer.rule.channels, *trainer.config.lattice)
    perfect[:, :4] = task.targets[2].values
    assert task.metrics(trainer.rule, perfect.expand(4, -1, -1, -1, -1), goal)["iou.torus"] == 1.0
    losses = sum(task.terms(perfect[None].expand(2, 4, -1, -1, -1, -1), goal, trainer.rule).values())
    assert losses.argsort().tolist()[:2] == [0, 2] and float(losses[0]) == float(losses[2]) < float(losses[1])
    assert task.pool_loss(trainer.rule, perfect, 2) < task.pool_loss(trainer.rule, perfect, 0)


@pytest.mark.slow
def test_two_bodies_are_learnt_and_told_apart(tmp_path, capsys):
    """The whole way: train, report, evaluate, film a change, export a page; `input` and what a page needs."""
    out = tmp_path / "run"
    config = nca3d.Config(
        target=["cross", "heart"], size=(8, 10, 10), hidden=(96,), iterations=900, out=str(out), random_seed=1
    )
    run = nca3d.train(config, progress=False)
    report = run.report
    assert min(row["grow_iou"] for row in report["bodies"].values()) > 0.9
    assert report["right_body"]["grown"] == 1.0 and report["between"] > 0
    assert set(report["confusion"]["cross"]) == {"cross", "heart"}
    for name in ("report.html", "film.mp4", "creature.html", "bodies.png", "confusion.png", "switch.png", "morph.png"):
        assert (out / name).stat().st_size > 1000, name
    rule = nca3d.load(out)
    assert isinstance(rule, ConditionalRule) and rule.conditions == ("cross", "heart")
    assert rule.target("heart").name == "heart"
    state = nca3d.seed_state(rule, condition="heart")
    grown = nca3d.rollout(rule, state, rule.card["horizon"], condition="heart")
    assert float(nca3d.iou(grown, rule.target("heart"))) > 0.9
    film = ["--condition", "cross", "--then", "heart", "--out", str(tmp_path / "morph.gif"), "--pixels", "64"]
    assert main(["render", str(out), *film]) == 0
    assert main(["export", str(out), "--live", str(tmp_path / "live.html")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--condition", "cross", "--no-pictures", "--json", "-", "--samples", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["grow_iou"] > 0.8


def test_bodies_of_several_files_share_kinds_lattice_and_first_cell(tmp_path):
    ball, bar = np.zeros((5, 6, 7), np.uint8), np.zeros((3, 3, 9), np.uint8)
    ball[1:4, 1:5, 1:6], bar[1, 1, :] = 1, 2
    for name, labels in (("ball", ball), ("bar", bar)):
        np.save(tmp_path / f"{name}.npy", labels)
    bodies = load_several([str(tmp_path / "ball.npy"), str(tmp_path / "bar.npy")], "auto")
    assert bodies.names == ("ball", "bar") and bodies.kind == "classes"
    first, second = bodies.each
    assert first.names == second.names and first.visible == len(first.names)
    assert first.size == second.size and first.start == second.start
    assert first.cells == int((ball > 0).sum()) and second.cells == 9
    mixed = load_several([str(tmp_path / "ball.npy"), "cross"], "auto")
    assert mixed.kind == "rgb" and mixed.each[0].visible == 3


def test_a_folder_of_bodies_stands_for_all_of_them_and_one_of_pictures_for_a_stack(tmp_path):
    files = []
    for name in ("moth", "crab"):
        np.save(tmp_path / f"{name}.npy", np.ones((2, 3, 4), np.uint8))
        files.append(str(tmp_path / f"{name}.npy"))
    config = tiny_body(target=f"{tmp_path}/", size="auto")
    assert config.target == tuple(sorted(files)) and config.kind.subject(config) == "2-bodies"
    (tmp_path / "slice.png").write_bytes(b"")
    assert tiny_body(target=f"{tmp_path}/", size="auto").target == f"{tmp_path}/"


def test_every_reader_of_a_body_is_known_to_folders():
    assert {*several.BODIES, *several.PICTURES} == set(READERS)


def test_names_that_are_alike_are_numbered():
    assert called(["a/tree.nbt", "b/tree.vox", "axolotl"]) == ["tree-1", "tree-2", "axolotl"]
    assert called(["a/tree.nbt", "b/tree.nbt", "tree-1.nbt"]) == ["tree-2", "tree-3", "tree-1"], (
        "a name that is one's own stays"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"target": "sphere", "switch_rate": 0.1}, "switch_rate: found 0.1, allowed 0.0 for one target"),
        ({"condition": "seed", "switch_rate": 0.1}, "switch_rate: found 0.1, allowed 0 where condition = seed"),
        ({"condition": "seed", "condition_codes": "learned"}, "condition_codes: found 'learned'"),
        ({"rule": "mine"}, "rule: found 'mine', allowed conv, coded where there are several targets"),
        ({"target": ()}, "target: found \\(\\), allowed text, not empty, or a list of 1 to 64 names"),
        ({"condition": "both"}, "condition: found 'both', allowed one of input, seed"),
    ],
)
def test_what_does_not_go_with_several_bodies_is_refused(changes, line):
    with pytest.raises(InputErrors, match=line):
        tiny(**changes)


def test_arrays_by_name_are_kept_and_go_on(tmp_path):
    """In memory they have no file: the run keeps them, and is resumed from what it keeps, wherever it is moved to."""
    ball, bar = np.zeros((5, 6, 7), np.uint8), np.zeros((3, 3, 7), np.uint8)
    ball[1:4, 1:5, 1:6], bar[1, 1, :] = 1, 2
    config = tiny_body(size="auto", iterations=2, steps=(4, 8), out=str(tmp_path / "run"), log_every=1)
    run = nca3d.train(config, target={"ball": ball, "a.bar": bar}, progress=False)
    assert run.rule.conditions == ("ball", "a.bar") and run.rule.target("a.bar").cells == 7
    run.folder.rename(tmp_path / "moved")
    more = nca3d.train(resume=tmp_path / "moved", iterations=3, progress=False)
    assert more.rule.conditions == ("ball", "a.bar") and more.metrics[-1]["iteration"] == 3
    assert nca3d.load(tmp_path / "moved").target("ball").cells == int((ball > 0).sum())
    with pytest.raises(InputError, match="found 1 bodies, allowed two or more by name"):
        nca3d.train(config, target={"ball": ball}, progress=False)
    with pytest.raises(InputError, match="target: found a list of 2, allowed one body, or several by name"):
        nca3d.train(config, target=[ball, bar], progress=False)
    with pytest.raises(InputError, match=r"^train: target 'bad'"):
        nca3d.train(config, target={"ball": ball, "bad": np.full((3, 3, 3, 4), np.nan)}, progress=False)


def test_arrays_by_name_may_have_their_condition_in_the_seed(tmp_path):
    ball, bar = np.zeros((5, 6, 7), np.uint8), np.zeros((3, 3, 7), np.uint8)
    ball[1:4, 1:5, 1:6], bar[1, 1, :] = 1, 2
    config = tiny(target=("one", "other"), condition="seed", size="auto", channels=10, iterations=1, out=str(tmp_path / "run"))
    assert nca3d.train(config, target={"ball": ball, "bar": bar}, progress=False).rule.conditions == ("ball", "bar")


def test_a_report_of_one_body_lies_in_its_run_whatever_the_body_is_called(tmp_path, capsys):
    bodies = {"/../../out": np.pad(np.ones((2, 2, 3), np.uint8), 1), "b": np.pad(np.ones((2, 3, 2), np.uint8), 1)}
    config = tiny_body(size="auto", iterations=1, steps=(4, 8), out=str(tmp_path / "run"))
    nca3d.train(config, target=bodies, progress=False)
    before = set(tmp_path.iterdir())
    words = ["evaluate", str(tmp_path / "run"), "--condition", "/../../out", "--samples", "1", "--no-pictures"]
    assert main(words) == 0 and (tmp_path / "run" / "evaluate-quick-_out" / "report.json").is_file()
    assert set(tmp_path.iterdir()) == before


def test_one_name_in_a_list_is_a_single_body():
    assert tiny_body(target=["sphere"]).target == "sphere"


def test_codes_of_ones_own_come_from_a_file(tmp_path):
    vectors = {name: [float(place), 1.0, -place] for place, name in enumerate(BODIES)}
    (tmp_path / "codes.json").write_text(json.dumps(vectors))
    trainer = Trainer.begin(tiny(condition_codes=str(tmp_path / "codes.json")))
    assert torch.equal(trainer.rule.codes, torch.tensor([vectors[name] for name in BODIES]))


@pytest.mark.parametrize(
    ("codes", "line"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\), allowed \(3, K\) numbers"),
        (np.eye(3) * np.nan, "found NaN or infinity"),
        (np.eye(3) * 1e38, r"none beyond ±1000"),
        (np.ones((3, 2)), "one vector for sphere, cross, torus"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.eye(3) * 1j, "dtype: found complex128"),
        (np.ones((3, 16_385)), r"shape \(3, 16385\), allowed \(3, K\) numbers, K at most 16,384"),
        ('{"sphere": [1]}', "none for cross, torus"),
        ('{"sphere": [1], "cross": [1, 2], "torus": [3]}', "no table of numbers"),
        ('{"sphere": [1%s], "cross": [1], "torus": [3]}' % ("0" * 400), "no table of numbers"),
        ("[" * 100_000, "a file without vectors"),
        ("# a readme", "a file without vectors"),
    ],
)
def test_codes_that_are_none_are_refused_in_one_line(tmp_path, codes, line):
    file = tmp_path / ("codes.json" if isinstance(codes, str) else "codes.npy")
    if isinstance(codes, str):
        file.write_text(codes)
    else:
        np.save(file, codes)
    with pytest.raises(InputError, match=line):
        Trainer.begin(tiny(condition_codes=str(file)))


def test_codes_whose_header_promises_more_than_there_is_are_not_believed(tmp_path):
    file = tmp_path / "codes.npy"
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (3, 2**43)})
    with pytest.raises(InputError, match=r"codes\.npy: header: found shape \(3, 8796093022208\)"):
        Trainer.begin(tiny(condition_codes=str(file)))


def test_a_run_keeps_the_names_the_places_and_the_codes_of_its_bodies(tmp_path):
    config = tiny(out=str(tmp_path / "run"), iterations=1)
    nca3d.train(config, progress=False)
    for changes, field in (
        ({"target": BODIES[::-1]}, "conditions"),
        ({"target": BODIES[:2]}, "conditions"),
        ({"condition_codes": "learned"}, "codes"),
        ({"condition": "seed", "channels": 8}, "condition"),
    ):
        with pytest.raises(InputError, match=f"{field}: found"):
            nca3d.train(config.replace(iterations=2, **changes), resume=tmp_path / "run", progress=False)
    with pytest.raises(InputError, match="sphere, cross, torus, allowed torus, cross, sphere, in this order"):
        Trainer.begin(tiny(init=str(tmp_path / "run"), target=BODIES[::-1]))
    others = Trainer.begin(tiny(init=str(tmp_path / "run"), target=("heart", "jack", "gyroid")))
    assert "heart begins as sphere" in others.task.note(others.rule)
    with pytest.raises(InputError, match="a rule of 3 bodies, sphere, cross, torus, allowed one of 2, or as many targets"):
        Trainer.begin(tiny(init=str(tmp_path / "run"), target=BODIES[:2]))
    with pytest.raises(InputError, match="a rule of 3 bodies, allowed one of one body, or several targets"):
        Trainer.begin(tiny(init=str(tmp_path / "run"), target="cross"))
    with pytest.raises(InputError, match="target: found one body, allowed sphere, cross, torus: a run keeps what it grows"):
        nca3d.train(config.replace(target="cross"), resume=tmp_path / "run", progress=False)


def test_codes_that_a_first_cell_has_no_room_for_are_refused_with_the_room_that_they_need():
    with pytest.raises(InputError, match=r"codes of 3 numbers, allowed codes of at most 2, .*: --channels 7"):
        Trainer.begin(tiny(condition="seed", channels=6))
    Trainer.begin(tiny(condition="seed", channels=7))


def test_codes_may_be_arrays_of_numpy():
    rule = Trainer.begin(tiny()).rule
    code = np.eye(3, dtype=np.float32)[1]
    for one, other in zip(rule.bound(code).parameters(), rule.bound("cross").parameters(), strict=True):
        assert torch.equal(one, other)
    assert rule.nearest(code) == "cross"
    for wrong, line in (
        (lambda: rule.nearest(0 * code), "found zeros"),
        (lambda: rule.target(code), "allowed a body, which has a target: sphere, cross, torus"),
        (lambda: rule.bound(np.array(["cross"])), "condition: found"),
        (lambda: ConditionalRule("snail"), "conditions: found snail, allowed a list of names"),
    ):
        with pytest.raises(ValueError, match=line):
            wrong()


def test_a_run_goes_on_without_the_files_that_its_bodies_came_from(tmp_path):
    for name in ("moth", "crab"):
        np.save(tmp_path / f"{name}.npy", np.pad(np.ones((2, 3, 4), np.uint8), 1))
    files = (str(tmp_path / "moth.npy"), str(tmp_path / "crab.npy"))
    config = tiny_body(target=files, size="auto", iterations=1, steps=(4, 8), out=str(tmp_path / "run"))
    nca3d.train(config, progress=False)
    (tmp_path / "crab.npy").unlink()
    assert nca3d.train(resume=tmp_path / "run", iterations=2, progress=False).rule.conditions == ("moth", "crab")


def test_a_bound_rule_is_a_rule_of_its_own():
    rule = Trainer.begin(tiny()).rule
    bound = rule.bound("cross")
    copy.deepcopy(bound)
    torch.optim.Adam(bound.parameters())
    bound.to(torch.float64).requires_grad_(False)
    assert {p.dtype for p in rule.parameters()} == {torch.float32} and all(p.requires_grad for p in rule.parameters())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["evaluate", "zoo:menagerie", "--target", "duck"], "--target: target: found duck, allowed none for a rule of several"),
        (["evaluate", "zoo:menagerie", "--laws"], "--laws: condition: found none, allowed --condition NAME"),
        (["evaluate", "zoo:frog", "--condition", "duck"], "found 'duck', allowed none: this rule grows one body"),
        (["render", "zoo:menagerie", "--condition", "duck", "--then", "snale"], "did you mean 'snail'"),
        (["render", "zoo:menagerie", "--condition", "duck", "--then", "snail", "--beside", "zoo:frog"], "none with --beside"),
        (["render", "zoo:menagerie"], "allowed --condition NAME: axolotl"),
        (["train", "--target", "snail", "--target", "snail"], "allowed each body once"),
        (
            ["train", "--target", "snail", "--target", "duck", "--pool-size", "1", "--batch", "1"],
            "pool_size: found 1, allowed at least 2",
        ),
        (["train", "--target", "snail", "--target", "duck", "--condition-codes", "onehot"], "did you mean 'one_hot'"),
        (
            ["train", "--target", "snail", "--target", "duck", "--regime", "growing", "--switch-rate", "1"],
            "0 where regime = growing",
        ),
    ],
)
def test_what_a_shell_asks_for_and_can_not_have_is_told_in_one_line(words, line, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.strip().splitlines()) <= 2


def test_another_body_can_be_asked_of_a_rule_of_one(tmp_path, capsys):
    out = ["--no-pictures", "--json", "-", "--out", str(tmp_path)]
    assert main(["evaluate", "zoo:cross", "--target", "cross", "--samples", "1", *out]) == 0
    assert json.loads(capsys.readouterr().out)["grow_iou"] > 0.9
