"""Film a rule's life: it grows, is cut, heals. Without options: an mp4 of all that, beside the run.

Put RUN before --damage: a flag that takes several values would swallow it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.cli import life
from nca3d.cli.flags import plugins_of, require_place, wrong_numbers
from nca3d.cli.life import LifeRequest, horizon_of
from nca3d.errors import ErrorCollector, InputError
from nca3d.files import refuse_odd, write_atomic
from nca3d.load import RuleRef

if TYPE_CHECKING:
    from nca3d.evaluation.story import Story
    from nca3d.targets import Target

SUFFIXES = (".mp4", ".gif", ".webp", ".png", ".html")
STYLES, QUALITIES = ("voxels", "surface", "activity"), ("fast", "high")

# How often the eye may walk around: beyond it an angle is a slip, and beyond 1e16 it is no angle.
TURNS = 100


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d render`."""
    life.add_flags(parser)
    where = f"{', '.join(SUFFIXES)}; in a page the reader chooses the look (default: render.mp4 in RUN, or runs/NAME.mp4)"
    parser.add_argument("--out", metavar="FILE", type=Path, help=where)
    parser.add_argument("--style", default="voxels", metavar="|".join(STYLES), help="cubes, skin, or where it changes")
    parser.add_argument("--quality", default="fast", metavar="|".join(QUALITIES), help="of the light (default: fast)")
    parser.add_argument("--orbit", default=90.0, metavar="DEGREES", type=float, help="how far the eye walks (default: 90)")
    parser.add_argument("--pixels", default=480, metavar="N", type=int, help="width and height (default: 480)")
    parser.add_argument("--fps", default=12.0, metavar="X", type=float, help="frames a second (default: 12)")
    parser.add_argument("--background", default="auto", metavar="COLOUR", help="a CSS name or #rrggbb (default: by style)")
    parser.add_argument("--axes", action="store_true", help="draw the axes x, y, z with their cells")
    parser.add_argument("--beside", metavar="RUN", help="a second rule in the same film, on the same clock")


def run(args: argparse.Namespace) -> None:
    """Draws the film, still or page and prints its path."""
    _check(args)
    request = LifeRequest.of(args)
    out = args.out or _default(request)
    refuse_odd(out)
    if args.out is None:
        require_place(out, "--out")
    if args.beside:
        _side_by_side(args, request, out)
        return
    rule = request.ref.one()
    target = request.ref.target(rule)
    suffix = out.suffix.lower()
    story = request.tell(rule, target, damaged=suffix != ".png")
    out.parent.mkdir(parents=True, exist_ok=True)
    legend = legend_of(target)
    if suffix == ".html":
        from visualize.viewer import movie

        title = f"{target.name}, {len(story.steps)} frames of {story.steps[-1]} steps"
        movie(story.frames, out, steps=story.steps, damage_at=story.marks, title=title, fps=args.fps, legend=legend)
    elif suffix == ".png":
        _still(story, out, args, legend)
    else:
        from visualize import animate

        animate(
            story.frames,
            out,
            steps=story.steps,
            damage_at=story.marks,
            size=args.pixels,
            orbit=args.orbit,
            fps=args.fps,
            legend=legend,
            axes=args.axes,
            progress=True,
            **_look(args),
        )
    print(out)


def _check(args: argparse.Namespace) -> None:
    with ErrorCollector() as errors:
        for name, allowed in {"style": STYLES, "quality": QUALITIES}.items():
            value = getattr(args, name)
            errors.add(value not in allowed, f"--{name}", name, repr(value), ", ".join(allowed))
        errors += wrong_numbers(args, pixels=(64, 4096), fps=(0.1, 60))
        errors.add(
            not abs(args.orbit) <= TURNS * 360, "--orbit", "degrees", args.orbit, f"a finite number, {TURNS} turns at most"
        )
    if args.background != "auto":
        from visualize.render import as_colour

        as_colour(args.background, "--background")
    if args.out is not None:
        from visualize.formats import writable

        writable(args.out, "--out", SUFFIXES[:3] if args.beside else SUFFIXES)


def _default(request: LifeRequest) -> Path:
    """Returns a path beside the run's own pictures, of a GIF where there is no ffmpeg."""
    from visualize.film import has_ffmpeg

    suffix = ".mp4" if has_ffmpeg() else ".gif"
    return request.ref.beside(f"render{suffix}", f"{request.ref.stem}{suffix}")


def _look(args: argparse.Namespace) -> dict[str, Any]:
    return {"style": args.style, "quality": args.quality, "background": args.background}


def _still(story: "Story", out: Path, args: argparse.Namespace, legend: dict[str, Any] | None) -> None:
    from nca3d.reports.pictures import png_of_pixels
    from visualize import volume

    activity = abs(story.frames[-1][..., 3] - story.frames[-2][..., 3]) if args.style == "activity" else None
    picture = volume(
        story.frames[-1], size=(args.pixels, args.pixels), activity=activity, legend=legend, axes=args.axes, **_look(args)
    )
    write_atomic(out, png_of_pixels(picture))


def _side_by_side(args: argparse.Namespace, request: LifeRequest, out: Path) -> None:
    from visualize import side_by_side

    if request.then:
        raise InputError("--then", "name", ", ".join(request.then), "none with --beside: one of the two")
    beside = RuleRef(args.beside, plugins=plugins_of(args))
    # Of two rules of several bodies the same one; of one that grows a single body it is not meant.
    asked, request.ref.condition = request.ref.condition, None
    several = [bool(ref.rule().conditions) for ref in (request.ref, beside)]
    request.ref.condition, beside.condition = (asked if one or not any(several) else None for one in several)
    rules = [(ref, ref.one()) for ref in (request.ref, beside)]
    horizon = max(
        horizon_of(rule) for _, rule in rules
    )  # one script for both, so that the slower one is not cut before it is grown
    stories: dict[str, Story] = {}
    for ref, rule in rules:
        name = ref.stem if ref.stem not in stories else f"{ref.stem}, again"
        stories[name] = request.tell(rule, ref.target(rule), damaged=True, horizon=horizon)
    out.parent.mkdir(parents=True, exist_ok=True)
    first = next(iter(stories.values()))
    side_by_side(
        {name: story.frames for name, story in stories.items()},
        out,
        steps=first.steps,
        damage_at=first.marks,
        size=args.pixels,
        orbit=args.orbit,
        fps=args.fps,
        axes=args.axes,
        progress=True,
        **_look(args),
    )
    print(out)


def legend_of(target: "Target") -> dict[str, Any] | None:
    """Returns the colours (r, g, b), 0..1, of the classes that a target has, by name; None for a target of colours."""
    if target.palette is None:
        return None
    there = [label for label in range(1, len(target.names)) if bool((target.values[label] > 0).any())]
    return {target.names[label]: tuple(float(part) for part in target.palette[label]) for label in there}
