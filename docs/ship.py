"""Puts a finished run's rule into the zoo that is shipped: python docs/ship.py RUN NAME"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

import nca3d
from nca3d.training import checkpoint

ZOO = Path(nca3d.__file__).with_name("zoo")


def main(run: str, name: str) -> None:
    """Write NAME.safetensors and its card, NAME.json: how to build the rule, what it was trained for, what was measured."""
    folder = Path(run)
    saved = checkpoint.load(folder)
    report = json.loads((folder / "report.json").read_text())
    card = {
        "rule": saved.scalars["rule"],
        **saved.scalars["card"],
        "figures": report["figures"],
        "versions": report["versions"],
        "config": report["config"],
    }
    ZOO.mkdir(exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in saved.groups["rule"].items()}, ZOO / f"{name}.safetensors")
    (ZOO / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{ZOO / name}.safetensors: {(ZOO / f'{name}.safetensors').stat().st_size / 1000:.1f} KB")


if __name__ == "__main__":
    main(*sys.argv[1:])
