"""List the shipped bodies; with names, say what each becomes on the lattice, or draw one."""

import argparse
from pathlib import Path

from nca3d.cli.flags import add_fields, read_flags, wrong_file
from nca3d.config import Config
from nca3d.errors import ErrorCollector


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d targets`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped names, or paths to meshes, arrays, volumes")
    parser.add_argument("--draw", metavar="FILE.png", type=Path, help="draw the one body named")
    add_fields(parser, ("size", "target_options"))


def run(args: argparse.Namespace) -> None:
    """Lists the bodies, or loads and draws those that are named."""
    with ErrorCollector() as errors:
        config = Config(**read_flags(args, errors))
        if args.draw and (len(args.names) != 1 or args.draw.suffix != ".png"):
            errors.add(True, "--draw", "FILE.png", f"{args.draw} for {len(args.names)} names", "a .png for one name or path")
        else:
            errors += wrong_file("--draw", args.draw)
    from nca3d import targets

    for name, doc in {} if args.names else targets.catalogue().items():
        print(f"{name:<16} {doc}")
    for name in args.names:
        target = targets.load(name, size=config.replace(target=name).size, **config.target_options)
        kind = f"{len(target.names) - 1} classes" if target.kind == "classes" else "coloured"
        print(f"{name:<16} {int(target.occupied.sum())} cells of {' × '.join(map(str, target.size))}, {kind}")
        print(*target.notes, sep="\n", end="\n" * bool(target.notes))
    if args.draw:
        from nca3d.files import write_atomic
        from nca3d.reports.pictures import png_of_pixels
        from visualize import volume

        write_atomic(args.draw, png_of_pixels(volume(target.rgba(), size=(960, 960))))
        print(args.draw)
