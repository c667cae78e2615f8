"""List the shipped bodies; with names, say what each becomes on the lattice; draw one with what its training takes, or all."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli.flags import add_fields, read_flags, wrong_file
from nca3d.config import Config, plugins
from nca3d.errors import ErrorCollector

if TYPE_CHECKING:
    from nca3d.targets import Target

# --draw without a file: into the folder at hand.
BESIDE = Path()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d targets`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped names, or paths to meshes, arrays, volumes")
    parser.add_argument(
        "--draw",
        metavar="FILE.png",
        type=Path,
        nargs="?",
        const=BESIDE,
        help="draw the body named, from three sides and in space, and forecast its training (default: NAME-body.png); "
        "of several, a picture of each on one sheet (default: bodies.png)",
    )
    add_fields(parser, ("size", "target_options", "plugins"))


def run(args: argparse.Namespace) -> None:
    """Lists the bodies, or loads and draws those that are named."""
    with ErrorCollector() as errors:
        config = Config(**read_flags(args, errors))
        draw = _picture(args, errors)
    plugins.run(config.plugins)
    from nca3d import targets

    for name, doc in {} if args.names else targets.catalogue().items():
        print(f"{name:<16} {doc}")
    drawn: dict[str, Target | str] = {}
    with ErrorCollector() as errors:
        for name in args.names:
            target = errors.of(targets.load, name, size=config.replace(target=name).size, **config.target_options)
            if target is None:
                drawn[name] = str(errors[-1])
                continue
            drawn[name] = target
            if draw is not None and len(args.names) == 1:
                _draw(target, config.replace(target=name, size=target.size), draw)
                continue
            kind = f"{len(target.names) - 1} classes" if target.kind == "classes" else "coloured"
            print(f"{name:<16} {int(target.occupied.sum())} cells of {' × '.join(map(str, target.size))}, {kind}")
            print(*target.notes, sep="\n", end="\n" * bool(target.notes), flush=True)
        if draw is not None and len(args.names) > 1:
            _draw_all(drawn, draw)


def _picture(args: argparse.Namespace, errors: ErrorCollector) -> Path | None:
    """Returns the file to draw into; None = none is wanted."""
    if args.draw is None:
        return None
    draw: Path = args.draw
    # Not the name of the body's own file, which may be a picture too.
    if draw == BESIDE and args.names:
        draw = Path(f"{Path(args.names[0]).stem}-body.png") if len(args.names) == 1 else Path("bodies.png")
    if not args.names or draw.suffix != ".png":
        found = f"{'no file named' if args.draw == BESIDE else args.draw} for {len(args.names)} names"
        errors.add(True, "--draw", "FILE.png", found, "a .png for one name or path, or several")
    else:
        errors += wrong_file("--draw", draw)
        # The body's own file may be a picture.
        own = any(Path(name).absolute() == draw.absolute() for name in args.names)
        errors.add(own, "--draw", "FILE.png", draw, "another file than the body's own")
    return draw


def _draw_all(drawn: "Mapping[str, Target | str]", file: Path) -> None:
    """Draws several bodies into one picture; what couldn't be read has its line there."""
    from nca3d.files import write_atomic
    from nca3d.reports.contact_sheet import contact_sheet
    from nca3d.reports.pictures import png_of

    write_atomic(file, png_of(contact_sheet(drawn)))
    print(file)


def _draw(target: "Target", config: Config, file: Path) -> None:
    """Says what a body is and what its training takes, and draws it with these words."""
    from nca3d.files import write_atomic
    from nca3d.reports.pictures import png_of
    from nca3d.reports.target_sheet import target_lines, target_sheet
    from nca3d.training.forecast import forecast
    from nca3d.training.growth import Growth

    lines = list(target_lines(target))
    print(*lines, sep="\n", flush=True)
    config, _ = config.kind.sized(config, target)
    lines.append(forecast(config, [target], Growth(config, target).build_rule()))
    print(lines[-1], flush=True)
    write_atomic(file, png_of(target_sheet(target, lines)))
    print(file)
