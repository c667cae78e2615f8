"""Confirm plug-ins, so that runs and configs that name them may run them. Without FILE: list what is confirmed.

What is confirmed are the bytes of a file: a changed file has to be confirmed again. Read it first: it has all your rights.
"""

import argparse

from nca3d.config import plugins
from nca3d.errors import ErrorCollector


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d trust`."""
    parser.add_argument("files", metavar="FILE", nargs="*", help="Python files that runs may name as plug-ins")
    parser.add_argument("--forget", metavar="FILE", nargs="+", default=[], help="take it back; a file, or its sha256")


def run(args: argparse.Namespace) -> None:
    """Confirms files, takes confirmations back, and prints those that it dealt with, or all.

    Raises:
        InputErrors: a file is missing, or was never confirmed.
    """
    known = plugins.confirmed()
    with ErrorCollector() as errors:
        gone: dict[str, str] = {}
        for name in args.forget:
            # By what it is, or by what it was called: the file may be gone, or another by now.
            entries = {digest: path for digest, path in known.items() if name in (digest, path) or path.endswith(f"/{name}")}
            errors.add(not entries, "nca3d trust", "--forget", repr(name), "a file or sha256 that nca3d trust lists")
            gone |= entries
        errors.of(plugins.check, args.files, None)
    if gone:
        plugins.forget(gone)
    new = plugins.confirm(args.files) if args.files else {}
    for digest, path in (new or gone or known).items():
        print(f"{digest}  {path}")
