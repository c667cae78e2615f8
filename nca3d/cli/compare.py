"""Lay the figures of several runs side by side, as a Markdown table and a picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli.flags import wrong_folder
from nca3d.errors import ErrorCollector
from nca3d.load import ZOO, load, zoo

if TYPE_CHECKING:
    from nca3d.reports.report import Report


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d compare`."""
    parser.add_argument("reports", nargs="+", metavar="RUN", help="a run or evaluation folder, a report.json, or zoo:NAME")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write compare.md and compare.png there")


def run(args: argparse.Namespace) -> None:
    """Prints the table, and writes table and picture into --out if it is given."""
    with ErrorCollector() as errors:
        errors += wrong_folder("--out", args.out)
        for name in args.reports:
            missing = not name.startswith(ZOO) and not Path(name).exists()
            errors.add(missing, name, "report", "nothing there", f"a folder or file of a report, or zoo:{'|'.join(zoo())}")
    from nca3d.reports.compare import compare

    table, figure = compare({name: _report(name) for name in args.reports})
    print(table)
    if args.out is not None:
        from nca3d.files import vacate, write_atomic
        from nca3d.reports.pictures import png_of

        write_atomic(vacate(args.out / "compare.md"), (table + "\n").encode())
        write_atomic(vacate(args.out / "compare.png"), png_of(figure))
        print(args.out / "compare.png")


def _report(name: str) -> "Report":
    """Returns the report of a run, or the figures of a card as one."""
    from nca3d.reports.report import Report, read_report
    from nca3d.reports.values import flat

    if not name.startswith(ZOO):
        return read_report(Path(name))
    card = load(name).card
    report = Report({**card["figures"], **card["standard"]}, {})
    # The card's intervals are those of its quick figures: where standard ones took their place, they say nothing.
    quick, now = dict(flat(card["figures"])), dict(report.rows())
    report.intervals = {name: low_high for name, low_high in card["intervals"].items() if quick.get(name) == now.get(name)}
    return report
