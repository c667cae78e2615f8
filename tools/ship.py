"""Puts a finished run's rule into the zoo that is shipped: python tools/ship.py RUN NAME [--standard FILE|-] [--life STEPS].

Evaluates it with the presets quick and standard (minutes to hours, by the body's size), so that the card says what
`nca3d evaluate zoo:NAME` prints, and watches a few bodies for a long life.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tqdm import tqdm

import nca3d
from nca3d import checkpoint
from nca3d.config import Config
from nca3d.config.shipped import names
from nca3d.evaluation.evaluate import summary
from nca3d.files import write_atomic
from nca3d.fire import evaluation_seed
from nca3d.load import RuleRef
from nca3d.reports.report import read_report
from nca3d.versions import versions

ZOO = Path(nca3d.__file__).with_name("zoo")
# Fields of a config that speak of the place where it was trained, not of the experiment.
HERE = ("out", "init", "device", "threads", "report", "plugins")
# The bodies of a long life, and the steps from one look at them to the next.
BODIES, LOOK_EVERY = 4, 100


def ship(run: str, name: str, standard: str = "", life: int = 100_000, note: str = "") -> None:
    """Write NAME.safetensors and its card, NAME.json: how to build the rule, how it was trained, what was measured.

    Args:
        run: the run's folder.
        name: what the zoo calls the rule.
        standard: the report.json of a standard evaluation that was made already; empty = make it now, "-" = go without.
        life: steps of the long life; 0 = none.
        note: how the run differs from its config, such as legs that were resumed with other fields.
    """
    ref = RuleRef(run)
    saved, rule, config = checkpoint.load(run), ref.rule(), ref.config
    assert config is not None, "checkpoints without their run say nothing of how they came about"
    # What is judged: the one body, or each of several.
    bodies = {name: rule.bound(name) for name in rule.conditions} or {"": rule}
    quick = nca3d.evaluate(rule, preset="quick", progress=True)
    # Shipped bodies go by their names; the files that keep them lie in the run.
    shipped = {name: value for name, value in saved.scalars["card"].items() if name != "body"}
    if "targets" in shipped:
        shipped["targets"] = [{name: value for name, value in one.items() if name != "body"} for one in shipped["targets"]]
    card = {
        "rule": saved.scalars["rule"],
        **shipped,
        "figures": summary(quick),
        "intervals": quick.intervals,
        "standard": _standard(rule, standard),
        **({"life": _worst([_life(one, life) for one in bodies.values()])} if life else {}),
        "training": {
            # A rule that began from another one than its config says is not what that config makes: the note has how it was.
            "config": name if name in names() and Config.load(name).init == config.init else "",
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


def _standard(rule: nca3d.Rule, given: str) -> dict[str, Any]:
    if given == "-":
        return {}
    report = read_report(Path(given)) if given else nca3d.evaluate(rule, preset="standard", progress=True)
    return summary(report)


def _worst(lives: list[dict[str, Any]]) -> dict[str, Any]:
    """The long life of the body that fared worst."""
    return min(lives, key=lambda life: float(life["worst_iou"]))


@torch.no_grad()
def _life(rule: nca3d.Rule, steps: int) -> dict[str, Any]:
    """The worst IoU of the worst of some bodies on a long way, looked at now and then."""
    target = rule.target()
    seed, begun = evaluation_seed(0, 9), rule.card["horizon"]
    bodies = nca3d.rollout(rule, nca3d.compact(nca3d.seed_state(rule, batch=BODIES)), begun, random_seed=seed)
    worst, at = 1.0, 0
    for lived in tqdm(range(0, steps, LOOK_EVERY), desc="life"):
        bodies = nca3d.rollout(rule, bodies, LOOK_EVERY, random_seed=seed, first_step=begun + lived)
        if (now := float(nca3d.iou(nca3d.dense(bodies), target).min())) < worst:
            worst, at = now, lived + LOOK_EVERY
    return {"steps": steps, "bodies": BODIES, "worst_iou": worst, "worst_at": at}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ZOO, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("name", metavar="NAME", help="what the zoo calls the rule")
    parser.add_argument("--standard", default="", metavar="FILE", help="the report.json of a standard evaluation; - = without")
    parser.add_argument("--life", type=int, default=100_000, metavar="STEPS", help="a long life to watch (default: 100,000)")
    parser.add_argument("--note", default="", metavar="TEXT", help="how the run differs from its config")
    ship(**vars(parser.parse_args()))
