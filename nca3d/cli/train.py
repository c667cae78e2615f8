"""Train a rule that grows a body; flags override the config file.

Put CONFIG first: a flag that takes several values would swallow it.
"""

import argparse
from pathlib import Path

from nca3d.cli.flags import add_fields, config_from, named
from nca3d.config import Config, plugins, shipped
from nca3d.config.names import check_names
from nca3d.errors import InputError
from nca3d.load import RuleRef
from nca3d.ranks import launcher

MOST_PROCESSES = 1024
# What is printed of a run folder when it is done: what people look at.
RESULTS = (".png", ".mp4", ".gif", ".webp", ".html")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d train`."""
    parser.usage = "nca3d train [CONFIG] [--FIELD VALUE ...] [--resume FOLDER] [--print-config]"
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"a TOML file or one of: {', '.join(shipped.names())}")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the run in FOLDER; flags may change its config")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="share each batch out to N processes of this machine; torchrun takes several"
    )
    parser.add_argument("--print-config", action="store_true", help="print the whole config as TOML and stop")
    add_fields(parser)


def _check_init(name: str) -> None:
    """Checks that there is a rule to start from, as far as that can be told without torch.

    Raises:
        InputError: There is none.
    """
    try:
        RuleRef(name, plugins=())
    except InputError as error:
        raise InputError("config", "init", f"{name!r}: {error.found}", error.allowed) from None


def run(args: argparse.Namespace) -> int:
    """Trains, and prints where pictures and page are. All files are checked before torch takes its seconds to load."""
    config = config_from(args)
    if args.print_config:
        print(config.to_toml(), end="")
        return 0
    _check_processes(args.processes)
    if args.processes not in (None, 1) and launcher.expected() == 1:
        from nca3d.executors.child import python_with_nca3d
        from nca3d.ranks.launch import launch

        python, environment = python_with_nca3d()
        return launch(args.processes, [*python, "-u", "-m", "nca3d", "train", *args.words], environment)
    from nca3d.ranks.joined import joined

    with joined(config.timeout):
        _train(args, config)
    return 0


def _check_processes(asked: int | None) -> None:
    """Checks how many processes are asked for.

    Raises:
        InputError: None at all, too many, or others than a launcher has started.
    """
    there = launcher.expected()
    if asked is not None and not 1 <= asked <= MOST_PROCESSES:
        raise InputError("nca3d train", "--processes", asked, f"1 .. {MOST_PROCESSES}")
    if there > 1 and asked not in (None, there):
        raise InputError("nca3d train", "--processes", asked, f"{there}, or none: a launcher has started so many")


def _train(args: argparse.Namespace, config: Config) -> None:
    """Trains as one of the processes that torchrun has started, or alone."""
    from nca3d.ranks.restart import noted_run
    from nca3d.training.memory import check_memory
    from nca3d.training.open_run import check_run_folder

    # torchrun has started the processes anew: they go on where they were.
    resume = Path(args.resume) if args.resume is not None else noted_run()
    with named(args):
        plugins.check(config.plugins, config.plugins_from)
        check_names(config)
        if config.init and resume is None:
            _check_init(config.init)
        check_memory(config)
        check_run_folder(config, resume)
        source = config.kind.check_inputs(config, resume)
        from nca3d.experiment import train

        folder = Path(train(config, resume=resume, given=source).folder)
    results = [file for file in sorted(folder.rglob("*")) if file.suffix in RESULTS and file.is_file()]
    print(*sorted(results, key=lambda file: file.suffix == ".html"), folder, sep="\n")
