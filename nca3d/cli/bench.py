"""Measure speed and memory of all executors on this machine, or predict them for a lattice (--plan).

Put SETTING first: a flag that takes several values would swallow it.
"""

import argparse

from nca3d.bench.request import Request, add_flags

__all__ = ["add_flags", "run"]


def run(args: argparse.Namespace) -> None:
    """Measure or plan; bad flags are refused at once: torch alone takes seconds to load."""
    asked = Request.of(args)
    from nca3d.bench.command import run as measure

    measure(asked)
