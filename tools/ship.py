"""Puts a finished run's rule into the zoo that is shipped: python tools/ship.py RUN NAME [--standard FILE|-] [--note TEXT].

Evaluates it with the presets quick and standard (minutes to hours, by the body's size), so that the card says what
`nca3d evaluate zoo:NAME` prints.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from safetensors.torch import save

import nca3d
from nca3d import checkpoint
from nca3d.evaluation.evaluate import evaluate, summary
from nca3d.files import write_atomic
from nca3d.load import RuleRef
from nca3d.reports.report import read_report
from nca3d.versions import versions

ZOO = Path(nca3d.__file__).with_name("zoo")
# Fields of a config that speak of the place where it was trained, not of the experiment.
HERE = ("out", "init", "device", "threads", "report", "plugins")


def ship(run: str, name: str, standard: str = "", note: str = "") -> None:
    """Write NAME.safetensors and its card, NAME.json: how to build the rule, how it was trained, what was measured.

    Args:
        run: the run's folder.
        name: what the zoo calls the rule.
        standard: the report.json of a standard evaluation that was made already; empty = make it now, "-" = go without.
        note: how the run differs from its config, such as legs that were resumed with other fields.
    """
    ref = RuleRef(run)
    saved, rule, config = checkpoint.load(run), ref.rule(), ref.config
    assert config is not None, "checkpoints without their run say nothing of how they came about"
    target = ref.target(rule)
    quick = evaluate(rule, target, "quick", progress=True)
    # Shipped bodies go by their names; the file that keeps one lies in the run.
    shipped = {name: value for name, value in saved.scalars["card"].items() if name != "body"}
    card = {
        "rule": saved.scalars["rule"],
        **shipped,
        "figures": dict(quick),
        "intervals": quick.intervals,
        "standard": _standard(rule, target, standard),
        "training": {
            "config": name if name in nca3d.config.shipped.names() else "",
            "commit": _git("rev-parse", "HEAD"),
            "random_seed": config.random_seed,
            "iterations": saved.scalars["iteration"],
            "seconds": round(saved.scalars["seconds"]),
            **({"note": note} if note else {}),
        },
        "versions": versions(),
        "config": {field: getattr(config, field) for field in config.__dataclass_fields__ if field not in HERE},
    }
    weights = save({key: tensor.contiguous() for key, tensor in saved.groups["rule"].items()})
    write_atomic(ZOO / f"{name}.safetensors", weights)
    write_atomic(ZOO / f"{name}.json", (json.dumps(card, indent=1, allow_nan=False) + "\n").encode())
    print(f"{ZOO / name}.safetensors: {(ZOO / f'{name}.safetensors').stat().st_size / 1000:.1f} KB")


def _standard(rule: Any, target: Any, given: str) -> dict[str, Any]:
    if given == "-":
        return {}
    report = read_report(Path(given)) if given else evaluate(rule, target, "standard", progress=True)
    return summary(report)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ZOO, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("name", metavar="NAME", help="what the zoo calls the rule")
    parser.add_argument("--standard", default="", metavar="FILE", help="the report.json of a standard evaluation; - = without")
    parser.add_argument("--note", default="", metavar="TEXT", help="how the run differs from its config")
    ship(**vars(parser.parse_args()))
