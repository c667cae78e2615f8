"""The command `nca3d export --surface`: writes a cube as a folder that answers without its training."""

import argparse
from pathlib import Path

from nca3d.cli.flags import plugins_of
from nca3d.cube.cli.answer import check_cube
from nca3d.cube.export.record import is_surface_folder
from nca3d.errors import InputError
from nca3d.load import RuleRef

# Where the folder is written within the run folder, if none is named.
DEFAULT = Path("surface")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `nca3d export` has for cubes to a parser."""
    parser.add_argument(
        "--surface",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        const=DEFAULT,
        help="a cube (regime answering) as a folder: safetensors, ONNX, teacher, answers (default: surface in the run folder)",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the folder and prints its size, the time it took, and its distance from PyTorch.

    Raises:
        InputError: It is no cube's run, the folder can't be written, or the extra `export` is missing; before torch loads.
    """
    from nca3d.cube.export.write import check_surface, write_surface

    if is_surface_folder(args.run):
        raise InputError(args.run, "run", "what --surface wrote", "the run folder that it is from")
    plugins = plugins_of(args)
    check_cube(args.run, plugins)
    # "is", not "==": a user who writes --surface ./surface means that folder, not the one in the run folder.
    folder = (RuleRef(args.run, plugins=plugins).folder or Path()) / DEFAULT if args.surface is DEFAULT else args.surface
    check_surface(folder)
    # Here, not above: it loads torch, and by now everything that could be wrong is known.
    from nca3d.cube.ask import Cube

    written = write_surface(Cube.of_run(args.run, plugins=plugins), folder)
    print(f"{written.size / 2**20:,.1f} MiB in {written.seconds:.1f} s")
    print(f"ONNX Runtime is {written.furthest:.0e} of max|·| from PyTorch")
    print(folder)
