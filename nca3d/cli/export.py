"""Write a rule as a live page (--live), its life as a page (--movie), its body as files (FILE …).

Put RUN and files before flags that take values: they would swallow them.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.cli import life
from nca3d.cli.life import LifeRequest
from nca3d.errors import InputError
from nca3d.files import refuse_odd
from nca3d.registry import wing_entries

if TYPE_CHECKING:
    from nca3d.evaluation.story import Story
    from nca3d.rules.cell import Rule
    from nca3d.targets import Target

# Suffixes of pages, and of files for other tools.
PAGE = (".html",)
# A .vox model has at most so many cells along each side (its format stores coordinates in one byte).
VOX_SIDE = 256
FILES = (".pvd", ".vti", ".glb", ".vox", ".ome.zarr", ".zarr", ".npz", ".nbt", ".schem")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d export`; each wing adds those of what it exports."""
    life.add_flags(parser)
    bodies = f"its body in time, for other tools: {', '.join(FILES)}"
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help=bodies)
    parser.add_argument("--live", metavar="FILE.html", type=Path, help="a page in which it lives: cut it, watch it heal")
    parser.add_argument("--movie", metavar="FILE.html", type=Path, help="a page with its life: walk around, slide in time")
    for exporter in _exporters().values():
        exporter.add_flags(parser)


def run(args: argparse.Namespace) -> None:
    """Writes what the flags ask for and prints each path. What can be refused is, before the first file is written.

    Raises:
        InputError: nothing to write, or files that can't be written together, there, or of such a body.
    """
    own = [name for name in _exporters() if getattr(args, name) is not None]
    if own:
        if len(own) > 1 or args.files or args.live or args.movie:
            raise InputError(f"--{own[0]}", "file", "other files to write", f"--{own[0]} alone")
        _exporters()[own[0]].run(args)
        return
    _check(args)
    request = LifeRequest.of(args)
    rule = request.ref.rule()
    if rule.conditions and not (args.files or args.movie):
        _all_bodies(args, request, rule)
        return
    target = request.ref.target(rule)
    film = request.tell(rule, target, damaged=True) if args.movie else None
    story = request.tell(rule, target, damaged=False) if args.files else None
    if args.live:
        from nca3d.live.payload import describe

        describe(rule, target.size)
    if story is not None:
        _check_body(args.files, story)
    if args.live:
        from nca3d.live.page import live_page

        print(live_page(rule, args.live, target.size, target, random_seed=request.random_seed))
    if film is not None:
        from nca3d.cli.render import legend_of
        from visualize.viewer import movie

        print(
            movie(film.frames, args.movie, steps=film.steps, damage_at=film.marks, title=target.name, legend=legend_of(target))
        )
    if story is not None:
        for file in args.files:
            _save(file, story, target)


def _all_bodies(args: argparse.Namespace, request: LifeRequest, rule: "Rule") -> None:
    """Writes the page in which all bodies of a rule live, and prints its path."""
    from nca3d.live.page import live_page

    size = rule.card.get("size")
    if size is None:
        raise InputError(request.ref.name, "size", "none on its card", "a rule that knows its lattice")
    print(live_page(rule, args.live, tuple(size), random_seed=request.random_seed))


def _save(file: Path, story: "Story", target: "Target") -> None:
    """Writes the body in time into a file, and prints its path and what the file doesn't hold as it was."""
    from visualize import save
    from visualize.errors import LossyWarning

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", LossyWarning)
        path = save(
            story.frames,
            file,
            steps=story.times,
            names=target.names or None,
            palette=target.palette,
            labels=story.labels,
            progress=True,
        )
    print(path)
    for warning in heard:
        if issubclass(warning.category, LossyWarning):
            print(warning.message, file=sys.stderr)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _exporters() -> dict[str, Any]:
    """Returns what wings export, by the flag that asks for it: modules with `add_flags(parser)` and `run(args)`."""
    return {name: place.load() for name, place in wing_entries("exporter").items()}


def _check(args: argparse.Namespace) -> None:
    """Refuses names that can't be written, before torch takes its seconds to load."""
    if not (args.files or args.live or args.movie):
        flags = ["--live FILE.html", "--movie FILE.html", *(f"--{name}" for name in _exporters())]
        allowed = f"{', '.join(flags)}, or files {', '.join(FILES)}"
        raise InputError("nca3d export", "file", "nothing", allowed)
    if args.live and not (args.files or args.movie):
        for name in ("damage", "then", "steps", "every"):
            if getattr(args, name):
                found = "with --live alone, a page in which the reader decides"
                raise InputError(f"--{name}", name, found, f"--{name} with --movie FILE.html or a FILE, which show one life")
    from visualize.formats import writable

    files = [("--live", args.live, PAGE), ("--movie", args.movie, PAGE), *(("FILE", file, FILES) for file in args.files)]
    taken: set[Path] = set()
    for flag, file, suffixes in files:
        if file is None:
            continue
        writable(file, flag, suffixes, folder=file.suffix.lower() == ".zarr")
        if file.suffix.lower() == ".zarr":  # a store is a folder
            refuse_odd(file, folder=True)
        if file.suffix.lower() == ".pvd":  # the folder of its frames
            refuse_odd(file.with_name(f"{file.stem}_frames"), folder=True)
        if file.resolve() in taken:
            raise InputError(flag, "file", file, "another name for each file")
        taken.add(file.resolve())


def _check_body(files: list[Path], story: "Story") -> None:
    """Refuses bodies that a format can't hold.

    Raises:
        InputError: a body without any cell, or too large.
    """
    for file in files:
        suffix = file.suffix.lower()
        if suffix in (".glb", ".vox", ".nbt", ".schem") and not (story.frames[-1][..., 3] > 0).any():
            raise InputError(file, "body", f"no cell at step {story.steps[-1]}", f"a body that lives, for {suffix}")
        if suffix == ".vox" and max(story.frames.shape[1:4]) > VOX_SIDE:
            raise InputError(file, "size", max(story.frames.shape[1:4]), f"at most {VOX_SIDE} cells a side for .vox")
