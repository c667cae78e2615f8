"""The `nca3d` command, one verb a file; `command.py` finds the verb. May import everything, late: `--help` is instant."""

from nca3d.cli.command import main

__all__ = ["main"]
