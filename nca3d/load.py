"""Trained rules from disk: `load(run folder | checkpoint | "zoo:NAME")`. Tensors come from safetensors, never from pickle."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from nca3d.errors import InputError, nearest
from nca3d.rules import RULES
from nca3d.rules.cell import Rule


def load(source: str | Path) -> Rule:
    """A trained rule, ready to run, with its `.card`: size, regime, target, target_options, horizon, figures.

    Args:
        source: a run folder (its newest checkpoint that verifies), one checkpoint folder, or "zoo:NAME".

    Raises:
        InputError: nothing there, or nothing there that can be trusted; the line says why.
    """
    if str(source).startswith("zoo:"):
        return _from_zoo(str(source).removeprefix("zoo:"))
    from nca3d import checkpoint

    path = Path(source)
    if not path.exists():
        raise InputError(
            source, "rule", "no such folder", f"a run folder, a checkpoint folder or zoo:{'|'.join(zoo()) or 'NAME'}"
        )
    saved = checkpoint.load(path)
    return _build(saved.path, saved.scalars["rule"], saved.groups["rule"], saved.scalars["card"])


def zoo() -> list[str]:
    """The names of the trained rules that are shipped."""
    folder = resources.files("nca3d") / "zoo"
    return (
        sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))
        if folder.is_dir()
        else []
    )


def _from_zoo(name: str) -> Rule:
    if name not in zoo():
        raise InputError("zoo", "rule", repr(name), (", ".join(zoo()) or "none shipped yet") + nearest(name, zoo()))
    folder = resources.files("nca3d") / "zoo"
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors = load_tensors((folder / f"{name}.safetensors").read_bytes())
    return _build(f"zoo:{name}", card.pop("rule"), tensors, card)


def _build(where: object, described: dict[str, Any], tensors: dict[str, Any], card: dict[str, Any]) -> Rule:
    try:
        rule: Rule = RULES.find(described["name"], where, "rule")(**described["options"])
        rule.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(where, "rule", error, "weights that fit the rule that the checkpoint describes") from error
    rule.card = card
    return rule.eval()
