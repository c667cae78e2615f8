"""Lay the figures of several runs side by side, as a Markdown table and a picture.

A run stands for the report of its training; one run alone for that and all its evaluations. With --group-by, runs whose configs
have the same values there share a row: mean ± standard deviation, and the bootstrap interval of the mean.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli.flags import wrong_folder
from nca3d.config import FIELDS, Config
from nca3d.errors import ErrorCollector, InputError, nearest
from nca3d.load import CONFIG, ZOO, load, run_folder, zoo
from nca3d.schema.spec import toml

if TYPE_CHECKING:
    from nca3d.reports.report import Report

REPORT = "report.json"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d compare`."""
    parser.add_argument("reports", nargs="+", metavar="RUN", help="a run or evaluation folder, a report.json, or zoo:NAME")
    parser.add_argument("--group-by", metavar="FIELD,FIELD", help="a row for each group of runs with the same values of these")
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="figures of the groups, or patterns as heal_iou.*")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, help="write compare.md and compare.png there; groups as .csv, .tex"
    )


def run(args: argparse.Namespace) -> None:
    """Prints the table, and writes table and picture into --out if it is given."""
    with ErrorCollector() as errors:
        errors += wrong_folder("--out", args.out)
        for name in args.reports:
            missing = not name.startswith(ZOO) and not Path(name).exists()
            errors.add(missing, name, "report", "nothing there", f"a folder or file of a report, or zoo:{'|'.join(zoo())}")
        fields = _fields(args.group_by, errors)
        alone = args.figures is not None and args.group_by is None
        errors.add(alone, "--figures", "figures", "no --group-by", "--group-by FIELD: without, all figures are shown")
    if fields:
        _in_groups(args, fields)
        return
    from nca3d.reports.compare import compare

    names, notes = _measured(args.reports)
    table, figure = compare({name: _report(name) for name in names})
    for note in notes:
        print(note, file=sys.stderr)
    print(table)
    if args.out is not None:
        from nca3d.files import vacate, write_atomic
        from nca3d.reports.pictures import png_of

        write_atomic(vacate(args.out / "compare.md"), (table + "\n").encode())
        write_atomic(vacate(args.out / "compare.png"), png_of(figure))
        print(args.out / "compare.png")


def _fields(text: str | None, errors: ErrorCollector) -> list[str]:
    """Returns the fields to group by; those that are none are added to `errors`."""
    # Each once: a field that is named twice groups no further.
    fields = [] if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in fields:
        field, dot, _ = name.partition(".")
        known = field in FIELDS and (not dot or FIELDS[field].is_table)
        allowed = f"a field of nca3d train --help, or TABLE.NAME{nearest(field, FIELDS)}"
        errors.add(not known, "--group-by", "field", repr(name), allowed)
    return fields


def _in_groups(args: argparse.Namespace, fields: list[str]) -> None:
    """Prints the table of groups, and writes it with its chart into --out if that is given."""
    settings: dict[str, tuple[str, ...]] = {}
    reports: dict[str, Report] = {}
    with ErrorCollector() as errors:
        for name in args.reports:
            found = errors.of(_measured, [name])
            setting = errors.of(_setting, name, fields)
            if found and setting is not None:
                settings[name], reports[name] = setting, _report(found[0][0])
    from nca3d.reports.compare import in_groups
    from nca3d.reports.groups import write_tables

    table = in_groups(reports, settings, fields, args.figures or ())
    print(table.to_markdown(), end="")
    if args.out is not None:
        print("", *write_tables(args.out, table, "compare", "compare"), sep="\n")


def _setting(name: str, fields: list[str]) -> tuple[str, ...]:
    """Returns the values of these fields in the config of a run, as texts.

    Raises:
        InputError: it is no run: of a card and of a report alone the config is not known.
    """
    path = Path(name)
    # Of an evaluation, the run that it lies in.
    places = [place for place in (path, *path.absolute().parents[:2]) if (place / CONFIG).is_file()]
    config = Config.load((places[0] if places else run_folder(name)) / CONFIG)
    values = []
    for field in fields:
        table, dot, entry = field.partition(".")
        value = getattr(config, table)
        value = value.get(entry) if dot else value
        values.append("—" if value is None else value if isinstance(value, str) else toml(value))
    return tuple(values)


def _measured(names: list[str]) -> tuple[list[str], list[str]]:
    """Returns the reports that these names stand for, and notes of what else there is or could be.

    Raises:
        InputErrors: nothing was measured of some of them.
    """
    chosen: list[str] = []
    notes: list[str] = []
    with ErrorCollector() as errors:
        for name in names:
            found = _reports_of(name)
            if not found:
                allowed = f"a report: nca3d evaluate {name} makes one"
                errors.append(InputError(name, "report", "none of its training, and no evaluation", allowed))
            # Several runs have a column each: two presets of two runs beside each other could not be told apart.
            chosen += found if len(names) == 1 else found[:1]
            if len(names) > 1 and len(found) > 1:
                notes.append(f"{name}: {found[0]} is shown; measured too: {', '.join(found[1:])}")
    if len(chosen) == 1 and Path(names[0]).is_dir():
        notes.append(f"{chosen[0]}: one report alone; name another run, or let nca3d evaluate make one more")
    return chosen, notes


def _reports_of(name: str) -> list[str]:
    """Returns the reports of a run: that of its training, then its evaluations, the newest first; else the name itself."""
    try:
        # Of a file, a card and an evaluation's own folder there is one report.
        folder = run_folder(name) if Path(name).is_dir() else None
    except InputError:
        folder = None
    if folder is None:
        return [name]
    path = Path(name)
    # As `nca3d evaluate` names them: of a checkpoint, its step stands in front.
    pattern = "*evaluate-*" if path == folder else f"{path.resolve().name}-evaluate-*"
    files = sorted(folder.glob(f"{pattern}/{REPORT}"), key=lambda file: file.stat().st_mtime, reverse=True)
    own = [name] if path == folder and (folder / REPORT).is_file() else []
    return own + [str(file.parent) for file in files]


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
    known = {name: low_high for name, low_high in card["intervals"].items() if quick.get(name) == now.get(name)}
    return Report(report, intervals=known)
