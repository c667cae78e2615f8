"""The kinds of reports, by what they speak of: each has its own page and headlines; a wing brings its own."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nca3d.registry import Registry
from nca3d.reports.body import BODIES
from nca3d.reports.page import Kind
from nca3d.reports.values import flat

if TYPE_CHECKING:
    from nca3d.reports.report import Report

KINDS = Registry("report")
"""How reports are told, by what they speak of in the plural."""
KINDS["bodies"] = BODIES


def kind_of(report: Report) -> Kind:
    """The kind that has a headline among the figures of a report; bodies, if none has."""
    names = [name for name, _ in flat(report)]
    return next((kind for kind in KINDS.values() if headlines(kind, names)), BODIES)


def headlines(kind: Kind, names: Iterable[str]) -> list[str]:
    """Which figures are headlines of a kind, in its order."""
    names = list(names)
    return [name for pattern in kind.headlines for name in names if fnmatchcase(name, pattern)]
