"""`nca3d export`: a rule as a page in which it lives, its body as files for other tools, a cube as a folder that answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli import life as showing
from nca3d.cli.life import Showing
from nca3d.errors import InputError
from nca3d.load import RuleRef

if TYPE_CHECKING:
    from nca3d.evaluation.story import Story

PAGE = (".html",)
VOX_SIDE = 256
DEFAULT = Path("surface")
"""In the run folder."""
FILES = (".pvd", ".vti", ".glb", ".vox", ".ome.zarr", ".zarr", ".npz")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What `nca3d export` can be asked."""
    showing.add_flags(parser)
    bodies = f"its body in time, for other tools: {', '.join(FILES)}"
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help=bodies)
    parser.add_argument("--live", metavar="FILE.html", type=Path, help="a page in which it lives: cut it, watch it heal")
    parser.add_argument(
        "--surface",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        const=DEFAULT,
        help="a cube (regime answering) as a folder: safetensors, ONNX, teacher, answers (default: surface in the run folder)",
    )
    parser.add_argument("--movie", metavar="FILE.html", type=Path, help="a page with its life: walk around, slide in time")


def run(args: argparse.Namespace) -> None:
    """Write what was asked for and print each path. All that can be refused is, before the first is written."""
    _check(args)
    if args.surface is not None:
        _surface(args.run, args.surface)
        return
    asked = Showing.of(args)
    rule = asked.chosen.rule()
    target = asked.chosen.target(rule)
    film = asked.tell(rule, target, hurt=True) if args.movie else None
    story = asked.tell(rule, target, hurt=False) if args.files else None
    if args.live:
        from nca3d.live.payload import describe

        describe(rule, target.size)
    if story is not None:
        _check_body(args.files, story)
    if args.live:
        from nca3d.live.page import live_page

        print(live_page(rule, args.live, target.size, target, random_seed=asked.random_seed))
    if film is not None:
        from nca3d.cli.render import legend_of
        from visualize.viewer import movie

        print(
            movie(film.frames, args.movie, steps=film.steps, damage_at=film.marks, title=target.name, legend=legend_of(target))
        )
    if story is not None:
        from visualize import save

        for file in args.files:
            print(
                save(
                    story.frames,
                    file,
                    steps=story.times,
                    names=target.names or None,
                    palette=target.palette,
                    labels=story.labels,
                    progress=True,
                )
            )


def _surface(run: str, folder: Path) -> None:
    """Write the folder by which a cube is asked without its training.

    Raises:
        InputError: no run of a cube, a place that can't be written, the extra `export` is missing; before torch loads.
    """
    from nca3d.cube.cli.answer import check_cube
    from nca3d.cube.export.record import is_surface_folder
    from nca3d.cube.export.write import check_surface, write_surface

    if is_surface_folder(run):
        raise InputError(run, "run", "what --surface wrote", "the run folder that it is from")
    check_cube(run)
    if folder is DEFAULT:  # not ==: who names ./surface means that one
        folder = RuleRef(run).beside(folder.name, folder.name)
    check_surface(folder)
    from nca3d.cube.ask import Cube

    written = write_surface(Cube.of_run(run), folder)
    print(f"{written.size / 2**20:,.1f} MiB in {written.seconds:.1f} s")
    print(f"ONNX Runtime is {written.furthest:.0e} of max|·| from PyTorch")
    print(folder)


def _check(args: argparse.Namespace) -> None:
    """Refuse names that can't be written at once: torch alone takes seconds to load."""
    if args.surface is not None:
        if args.files or args.live or args.movie:
            raise InputError("--surface", "file", "other files to write", "--surface alone: a cube grows no body")
        return
    if not (args.files or args.live or args.movie):
        wanted = f"--live FILE.html, --movie FILE.html, --surface, or files {', '.join(FILES)}"
        raise InputError("nca3d export", "file", "nothing", wanted)
    from visualize.formats import writable

    asked = [("--live", args.live, PAGE), ("--movie", args.movie, PAGE), *(("files", file, FILES) for file in args.files)]
    seen: set[Path] = set()
    for flag, file, suffixes in asked:
        if file is None:
            continue
        writable(file, flag, suffixes, folder=file.suffix.lower() == ".zarr")
        if file.resolve() in seen:
            raise InputError(flag, "file", file, "another name for each file")
        seen.add(file.resolve())


def _check_body(files: list[Path], story: Story) -> None:
    """Some formats can't hold every body.

    Raises:
        InputError: a body without any cell, or too large.
    """
    for file in files:
        suffix = file.suffix.lower()
        if suffix in (".glb", ".vox") and not (story.frames[-1][..., 3] > 0).any():
            raise InputError(file, "body", f"no cell at step {story.steps[-1]}", f"a body that lives, for {suffix}")
        if suffix == ".vox" and max(story.frames.shape[1:4]) > VOX_SIDE:
            raise InputError(file, "size", max(story.frames.shape[1:4]), f"at most {VOX_SIDE} cells a side for .vox")
