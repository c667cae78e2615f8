"""A row about going on from a checkpoint whose digests fit and whose contents don't: each tensor and entry in turn."""

import contextlib
import copy
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from reliability.children import Ended, run
from reliability.contents import CHANGES
from reliability.inputs import ONE_LINE
from reliability.peers import Ours, Peer, Torch
from reliability.resealing import replace_file, reseal
from reliability.signals import NOT_ASKED
from reliability.trainings import Fault, OurRun, training_of

# What a number or a table of a checkpoint may have become.
STRANGE: dict[str, Any] = {"missing": ..., "null": None, "a text": "abc", "-1": -1, "[]": []}
# What is in a checkpoint for people, and no resumed run reads.
UNREAD = {"ran", "rule"}
Trial = tuple[str, Callable[[Path], None]]


def strange_resumes(peer: Peer, folder: Path) -> str:
    """Goes on for one step from each checkpoint in which one thing is strange."""
    counts = Counter(kind for _, kind in outcomes(peer, folder))
    if not counts:
        return NOT_ASKED
    total = sum(counts.values())
    words = [f"{kind} {counts[kind]}" for kind in ("refused", "trace", "accepted") if counts[kind]]
    cell = f"{', '.join(words)} of {total}"
    return f"**{cell}**" if counts["refused"] < total else cell


def outcomes(peer: Peer, folder: Path) -> Iterator[tuple[str, str]]:
    """Yields what was made strange, and what came of it.

    That is "refused", "accepted", or for ours "trace": another error than the one line that is promised.
    """
    if isinstance(peer, Ours):
        yield from _ours(folder)
    elif isinstance(peer, Torch):
        yield from _plain(peer, folder)


def _kind(ended: Ended) -> str:
    if not ended.code:
        return "accepted"
    return "refused" if ended.error.partition(":")[0] in ONE_LINE else "trace"


def _ours(folder: Path) -> Iterator[tuple[str, str]]:
    from nca3d import checkpoint
    from nca3d.training.trainer import Trainer

    place = folder / "run"
    run(lambda: OurRun().train(place, 10))
    newest = max((place / "checkpoints").iterdir())
    OurRun().register(folder / "steps" / "run", Fault())
    (folder / "steps").mkdir()
    trainer = Trainer.begin(OurRun().config(20, 10))

    def resume() -> None:
        trainer.restore(checkpoint.load(trial))
        trainer.step()

    trial = folder / "trial" / newest.name
    saved = checkpoint.load(newest)
    for name, change in _strange(saved.groups, saved.scalars):
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(newest, trial)
        change(trial)
        yield name, _kind(run(resume))


def _strange(groups: dict[str, Any], scalars: dict[str, Any]) -> Iterator[Trial]:
    for group, tensors in groups.items():
        for name in tensors:
            for kind, change in CHANGES.items():
                if kind not in ("extra", "NaN"):
                    yield f"{group}.{name} {kind}", lambda path, at=f"{group}.{name}", how=change: reseal(path, {at: how})
    for key in scalars.keys() - UNREAD:
        for kind, value in STRANGE.items():
            if value == scalars[key]:
                continue
            changed = {**scalars, key: value}
            if value is ...:
                del changed[key]
            data = json.dumps(changed, indent=1).encode()
            yield f"{key} {kind}", lambda path, data=data: replace_file(path, "scalars.json", data)


def _plain(peer: Peer, folder: Path) -> Iterator[tuple[str, str]]:
    loop, place = training_of(peer), folder / "run"
    run(lambda: loop.train(place, 10))
    file = place / "checkpoint.pt"
    whole = torch.load(file)

    def resume() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            loop.train(place, 11)

    for path in _paths(whole):
        tensor = isinstance(_at(whole, path), torch.Tensor)
        kinds = {kind: change for kind, change in CHANGES.items() if kind not in ("extra", "NaN")} if tensor else STRANGE
        for kind, change in kinds.items():
            changed = copy.deepcopy(whole)
            owner, key = _at(changed, path[:-1]), path[-1]
            value = change(owner[key]) if tensor else change
            if value is ... or (tensor and value is None):
                del owner[key]
            else:
                owner[key] = value
            torch.save(changed, file)
            yield f"{path} {kind}", "refused" if run(resume).code else "accepted"


def _paths(table: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the keys down to every tensor, and to every entry at the top."""
    for key, value in table.items():
        if isinstance(value, torch.Tensor):
            yield (*above, key)
        elif isinstance(value, dict):
            yield from _paths(value, (*above, key))
        if not above and not isinstance(value, torch.Tensor):
            yield (key,)


def _at(table: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        table = table[key]
    return table


ROWS = {"gone on from, each tensor and entry in turn of another type or shape, missing": strange_resumes}
