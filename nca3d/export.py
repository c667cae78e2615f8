"""`nca3d export`: a rule as a page in which it lives, and its body as files for other tools."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from nca3d import showing
from nca3d.errors import InputError
from nca3d.showing import Showing

PAGE = (".html",)
FILES = (".pvd", ".vti", ".glb", ".vox", ".ome.zarr", ".zarr", ".npz")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What `nca3d export` can be asked."""
    showing.add_flags(parser)
    bodies = f"its body in time, for other tools: {', '.join(FILES)}"
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help=bodies)
    parser.add_argument("--live", metavar="FILE.html", type=Path, help="a page in which it lives: cut it, watch it heal")
    parser.add_argument("--movie", metavar="FILE.html", type=Path, help="a page with its life: walk around, slide in time")


def run(args: argparse.Namespace) -> None:
    """Write what was asked for and print each path."""
    _check(args)
    asked = Showing.of(args)
    rule = asked.chosen.rule()
    target = asked.chosen.body(rule)
    if args.live:
        from nca3d.live.page import live_page

        print(live_page(rule, args.live, target.size, target, random_seed=asked.random_seed))
    if args.movie:
        from nca3d.render import legend_of
        from visualize.viewer import movie

        story = asked.tell(rule, target, hurt=True)
        print(
            movie(
                story.frames, args.movie, steps=story.steps, damage_at=story.marks, title=target.name,
                legend=legend_of(target),
            )
        )
    if args.files:
        from visualize.formats import save

        story = asked.tell(rule, target, hurt=False)
        # A cut takes no time: the frame after it stands half a step later, so that times rise.
        times = [now + 0.5 * (now == before) for before, now in pairwise([-1, *story.steps])]
        for file in args.files:
            print(
                save(
                    story.frames, file, steps=times, names=target.names or None, palette=target.palette, labels=story.labels,
                    progress=True,
                )
            )


def _check(args: argparse.Namespace) -> None:
    """Refuse names that can't be written at once: torch alone takes seconds to load."""
    if not (args.files or args.live or args.movie):
        raise InputError("nca3d export", "file", "nothing", f"--live FILE.html, --movie FILE.html, or files {', '.join(FILES)}")
    asked = [("--live", args.live, PAGE), ("--movie", args.movie, PAGE), *(("files", file, FILES) for file in args.files)]
    for flag, file, suffixes in asked:
        if file is None:
            continue
        if not file.name.endswith(suffixes) or file.name in suffixes:
            raise InputError(flag, "suffix", repr("".join(file.suffixes)), ", ".join(suffixes))
        if not file.parent.is_dir() or (file.is_dir() and file.suffix != ".zarr"):
            raise InputError(flag, "file", file, "a file name in a folder that exists")
