"""Find the batch of best throughput within memory for a config, by real iterations of training on this machine.

Batches are doubled and halved from the config's until memory is used up or throughput falls; each is measured in a process of
its own, the config's other fields as they are. Then, at the best one, what a rollout keeps is tried too (field memory). Nothing
is trained for good: the table and the lines to change are printed, and --out gets picture, numbers and a config file.

Put CONFIG first: a flag that takes several values would swallow it.
"""

import argparse
from pathlib import Path

from nca3d.cli.flags import add_fields, config_from, named, wrong_folder, wrong_numbers, wrong_text
from nca3d.config import FIELDS, Config, plugins, shipped
from nca3d.config.names import check_names
from nca3d.errors import ErrorCollector, InputError

# A pool or a batch that fits into less than a MiB is none.
LIMITS = (1, 1 << 30)
SECONDS = 60.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d tune`."""
    parser.usage = "nca3d tune [CONFIG] [--FIELD VALUE ...] [--memory-limit MIB] [--batches 1,2,4] [--out FOLDER] [--json FILE]"
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"a TOML file or one of: {', '.join(shipped.names())}")
    search = parser.add_argument_group("the search")
    search.add_argument("--batches", metavar="N,N,...", help="measure these batches (default: around the config's)")
    search.add_argument(
        "--memory-limit", metavar="MIB", type=int, help="what a training may take (default: 80 %% of what is free)"
    )
    search.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=SECONDS,
        help="how long the iterations of a batch may take; quick ones need two seconds (default: 60)",
    )
    search.add_argument("--out", metavar="FOLDER", type=Path, help="write tune.png, tune.json and chosen.toml there")
    search.add_argument("--json", metavar="FILE", help="write the numbers there too; - prints them as JSON instead")
    # --out is this verb's folder, not a run's; nothing of a run is resumed.
    parser.set_defaults(resume=None)
    add_fields(parser, [name for name in FIELDS if name != "out"])


def run(args: argparse.Namespace) -> None:
    """Searches, and prints what was found. All files and flags are checked before torch takes its seconds to load."""
    with ErrorCollector() as errors:
        config = errors.of(config_from, args)
        errors += wrong_numbers(args, memory_limit=LIMITS, seconds=(0.0, 86_400.0))
        errors += wrong_folder("--out", args.out)
        errors += wrong_text("--json", args.json)
        batches = errors.of(_batches, args.batches, config)
    assert config is not None  # else its errors were raised
    from nca3d.training.memory import check_memory

    with named(args):
        plugins.check(config.plugins, config.plugins_from)
        check_names(config)
        check_memory(config)
        config.kind.check_inputs(config)
        # What is measured is what a run would have: nothing is left open.
        config, _ = config.kind.sized(config)
        from nca3d.tune.command import Request
        from nca3d.tune.command import run as tune

        limit = None if args.memory_limit is None else args.memory_limit << 20
        # A setting that a flag names is meant.
        keepings = not hasattr(args, "field_memory")
        tune(Request(config, batches, keepings, limit, args.seconds, args.out, args.json))


def _batches(text: str | None, config: Config | None) -> list[int] | None:
    """Returns the batches that --batches names, each once and one that goes with the config; None = it names none.

    Raises:
        InputErrors: It has something else than numbers, or batches that the config can't have.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise InputError("--batches", "batches", repr(text), "whole numbers with commas between them, such as 4,8,16")
    batches = sorted({int(word) for word in words})
    if config is None:  # its own errors come first
        return None
    from nca3d.tune.search import config_at

    with ErrorCollector() as errors:
        for batch in batches:
            try:
                config_at(config, batch)
            except InputError as error:
                errors.append(InputError("--batches", f"batch {batch}: {error.field}", error.found, error.allowed))
    return batches
