"""Measure speed and memory of all executors on this machine, or predict them for a lattice (--plan).

Put SETTING first: a flag that takes several values would swallow it.
"""

import argparse

from nca3d.bench.request import Request, add_flags

__all__ = ["add_flags", "run"]


def run(args: argparse.Namespace) -> None:
    """Measures or plans. Bad flags are refused before torch takes its seconds to load."""
    request = Request.of(args)
    from nca3d.bench.command import run as measure

    measure(request)
