"""Labels stay labels: whole numbers become classes whatever their type, and what is left out or merged is said.

A file rarely says whether its whole numbers are ids or measurements. An id means nothing to its neighbours': 116 regions of a
brain, cut at the middle id, would be half a brain. So whole numbers are labels, unless there are more kinds of them than a rule
has channels for *and* they run on smoothly from voxel to voxel, as grey values do.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.targets.layouts import HAIR, check_finite, short_name
from nca3d.targets.options import is_number

# The most visible channels of a "classes" target, the empty class included: each costs a channel of every cell's state.
MAX_CLASSES = 64
# Grey values are more than this; fewer kinds of whole numbers are taken for labels without a look at their neighbours.
GREYS = 128
# Voxels that are looked at to tell measurements from labels.
SAMPLE = 500_000
COMMONEST = "commonest"


class LabelOptions(TypedDict, total=False):
    """The options of everything that holds labels.

    Attributes:
        margin: The cells left free at each face, where it is fitted or the size is "auto".
        fit: True resamples it to the room inside the margin, False keeps its size; "auto" is the reader's choice.
        palette: The colours of the labels, instead of the file's, see `parse_palette`.
        names: The names of the classes, the first of them for empty cells, instead of the file's.
        labels: The labels that stay, by number or name; "commonest" = the 63 that fill most voxels.
        merge: The labels that become one: {new = [old, old]} or {old = new}, by number or name.
        nan: The number that NaN is read as; None = NaN is refused.
    """

    margin: int
    fit: bool | str
    palette: object
    names: Sequence[str] | None
    labels: object
    merge: object
    nan: float | None


class Labels(NamedTuple):
    """Labels with what is known of them.

    Attributes:
        labels: Integers or bools (d, h, w), 0 is empty.
        names: The name of each label that has one.
        palette: The colour of each label, 0..1; None = no label has one.
        notes: What was decided, one line each.
    """

    labels: np.ndarray
    names: Mapping[int, str]
    palette: Mapping[int, tuple[float, ...]] | None = None
    notes: tuple[str, ...] = ()

    def noted(self, *notes: str) -> "Labels":
        """Returns the same labels with more notes."""
        return self._replace(notes=(*self.notes, *notes))


def without_nan(voxels: np.ndarray, nan: object, where: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns numbers of any shape (...) with NaN replaced by `nan`, and a line about it.

    Raises:
        InputError: If a number is NaN and `nan` is None, or infinite.
    """
    if voxels.dtype.kind != "f":
        return voxels, ()
    missing = np.isnan(voxels)
    if not missing.any():
        check_finite(voxels, where)
        return voxels, ()
    if nan is None:
        check_finite(voxels, where, "finite numbers; nan = 0 reads those that are NaN as empty (--target-options nan=0)")
    if not is_number(nan) or not np.isfinite(nan):
        raise InputError(where, "nan", repr(nan), "the number that NaN is read as, such as 0")
    voxels = np.where(missing, nan, voxels)
    check_finite(voxels, where)
    return voxels, (f"{short_name(where)}: {int(missing.sum()):,} voxels that are NaN are read as {nan:g}",)


def whole_numbers(voxels: np.ndarray, where: object) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Returns numbers (d, h, w) as integers or bools and a line on what was rounded; None if they aren't whole within 0.001."""
    if voxels.dtype.kind in "uib":
        return voxels, ()
    rounded = np.rint(voxels)
    off = float(np.abs(voxels - rounded).max(initial=0))
    if off > HAIR or float(np.abs(rounded).max(initial=0)) >= 2**31:
        return None
    said = f"{short_name(where)}: {voxels.dtype} numbers are rounded to labels (by {off:.2g} at most)"
    return rounded.astype(np.int32), (said,) if off else ()


def as_labels(
    voxels: np.ndarray,
    where: object,
    *,
    names: Mapping[int, str] | None = None,
    palette: Mapping[int, tuple[float, ...]] | None = None,
    sure: bool | None = None,
) -> Labels | None:
    """Reads numbers as labels.

    −1 is background, as in many label maps that count from 0: where it alone surrounds the body, 0 is a label; where 0 does,
    too, both are empty.

    Args:
        voxels: Finite numbers (d, h, w).
        where: The name that errors and notes give them.
        names: The name of each label that has one.
        palette: The colour of each label; None = no label has one.
        sure: Whether they are known to be labels; None = it is decided by the numbers.

    Returns:
        The labels; None if the numbers are measurements.

    Raises:
        InputError: If they are known to be labels and can't be.
    """
    whole = whole_numbers(voxels, where)
    if whole is None or sure is False:
        if sure:
            raise InputError(where, "labels", f"{voxels.dtype} numbers between whole ones", "whole numbers")
        return None
    labels, notes = whole
    read = Labels(labels, names or {}, palette, notes)
    if labels.dtype == bool:
        return read
    least = int(labels.min())
    if least == -1:
        return _background(read, where)
    if least < 0:
        if sure:
            found = f"{int((labels < 0).sum())} negative, the least {least}"
            raise InputError(where, "labels", found, "0 (empty) and above; -1 is background")
        return None
    measured = not sure and len(present(labels)) >= GREYS and _smooth(labels)
    return None if measured else read


def present(labels: np.ndarray) -> np.ndarray:
    """Returns the labels that occur in an array of any shape (...), without 0, in rising order, (N,)."""
    if labels.dtype == bool or labels.size == 0:
        return np.unique(labels[labels != 0]).astype(np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low < 1 << 22:  # counting takes a tenth of the time that sorting takes
        found = np.flatnonzero(np.bincount((labels.ravel() - low).astype(np.int64))) + low
        return found[found != 0]
    return np.unique(labels[labels != 0]).astype(np.int64)


def choose(read: Labels, keep: object, merge: object, where: object, cut: str = "") -> Labels:
    """Merges labels and leaves some out, as the user wants.

    Args:
        read: The labels.
        keep: The labels that stay, by number or name; "commonest" = those that fill most voxels, `MAX_CLASSES` - 1 of them;
            None = all.
        merge: What becomes of others: {new: [old, …]} or {old: new}, by number or name; None = nothing is merged.
        where: The name that errors and notes give them.
        cut: The way on for measurements, as the end of the line that refuses too many labels.

    Raises:
        InputError: If a name or number isn't there, or there are too many labels and nothing was chosen.
    """
    if not read.labels.any():
        raise InputError(where, "labels", f"no occupied cell in {read.labels.shape}", "at least one label above 0")
    if merge is not None:
        read = _merged(read, merge, where)
    kinds, counts = _counted(read.labels)
    if keep is not None:
        return _kept(read, keep, kinds, counts, where)
    if len(kinds) >= MAX_CLASSES:
        most = np.argsort(-counts, kind="stable")
        called = [read.names.get(int(kinds[i]), int(kinds[i])) for i in most[:3]]
        some = ", ".join(f"{one} ({counts[i]:,})" for one, i in zip(called, most, strict=False))
        share = counts[most[: MAX_CLASSES - 1]].sum() / counts.sum()
        keeps = f"labels = [{called[0]!r}, {called[1]!r}, …] keeps those alone"
        makes = f"merge = {{a = [{called[0]!r}, {called[1]!r}]}} makes one of several"
        rest = f"labels = '{COMMONEST}' keeps {MAX_CLASSES - 1}, {share:.3%} of the voxels (--target-options)"
        found = f"{len(kinds)} different labels, the commonest {some}"
        raise InputError(where, "labels", found, f"at most {MAX_CLASSES - 1} besides 0: {keeps}, {makes}, {rest}{cut}")
    return read


def _background(read: Labels, where: object) -> Labels:
    """Reads −1 as empty, and 0 with it where 0 lies around the body, too."""
    labels = read.labels.astype(np.int64)
    border = np.ones(labels.shape, bool)
    border[tuple(slice(1, -1) if n > 2 else slice(None) for n in labels.shape)] = False
    counted_from_0 = bool((labels == 0).any() and not (labels[border] == 0).any() and (labels[border] == -1).any())
    name, count = short_name(where), f"{int((labels == -1).sum()):,} voxels"
    if not counted_from_0:
        return read._replace(labels=np.where(labels == -1, 0, labels)).noted(f"{name}: -1 is background: {count} are empty")
    # 0 means empty from here on: labels move up by one, with their names.
    names = {label + 1: read.names.get(label, str(label)) for label in present(labels + 1) - 1}
    palette = read.palette and {label + 1: colour for label, colour in read.palette.items()}
    words = f"{name}: -1 is background: {count} are empty; 0, which -1 surrounds, is a label"
    return Labels(labels + 1, names, palette, read.notes).noted(words)


def _smooth(labels: np.ndarray) -> bool:
    """Whether whole numbers (d, h, w) run on from voxel to voxel as measurements do: near their neighbours', but not equal."""
    # Lines of voxels that lie some way apart are enough, and a whole scan would take seconds.
    apart = max(1, round((labels.size / SAMPLE) ** 0.5))
    some = labels[::apart, ::apart]
    wide = float(np.subtract(*np.percentile(some[some != 0], (98, 2)))) if some.any() else 0.0
    same = pairs = 0
    for axis in range(3):
        lines = labels[tuple(slice(None) if i == axis else slice(None, None, apart) for i in range(3))].astype(np.int64)
        a, b = lines.take(range(lines.shape[axis] - 1), axis), lines.take(range(1, lines.shape[axis]), axis)
        both = (a != 0) & (b != 0)
        if not both.any():
            continue
        steps = np.abs(a[both] - b[both])
        if np.median(steps) > 0.15 * wide:  # ids of neighbours are as far apart as any two ids
            return False
        same, pairs = same + int((steps == 0).sum()), pairs + len(steps)
    # Inside a region of an atlas all neighbours are equal.
    return pairs > 0 and same < pairs / 2


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels that occur, without 0, and the number of voxels of each."""
    kinds, counts = np.unique(labels[labels != 0], return_counts=True)
    return kinds.astype(np.int64), counts


def _number(one: object, read: Labels, where: object, field: str) -> int:
    """Returns the number of a label that is given by number or name.

    Raises:
        InputError: If no label is called so.
    """
    by_name = {name: label for label, name in read.names.items()}
    if isinstance(one, str) and one in by_name:
        return by_name[one]
    try:
        if not isinstance(one, bool) and isinstance(one, int | np.integer | str):
            return int(one)  # the keys of a TOML table are text
    except ValueError:
        pass
    allowed = "numbers of labels" + (f" or names: {', '.join(by_name)}{nearest(str(one), by_name)}" if by_name else "")
    raise InputError(where, field, repr(one), allowed)


def _kept(read: Labels, keep: object, kinds: np.ndarray, counts: np.ndarray, where: object) -> Labels:
    """Returns the labels that the user wants, the others empty, and says what was left out."""
    if keep == COMMONEST:
        wanted = np.sort(kinds[np.argsort(-counts, kind="stable")[: MAX_CLASSES - 1]])
    elif isinstance(keep, Sequence | int) and not isinstance(keep, bool) and keep not in ([], "all"):
        keep = [keep] if isinstance(keep, str | int) else keep  # one alone
        wanted = np.array(sorted({_number(one, read, where, "labels") for one in keep}))
        lost = np.setdiff1d(wanted, kinds)
        if len(lost) or len(wanted) >= MAX_CLASSES:
            found = f"{', '.join(map(str, lost))}, which no voxel has" if len(lost) else f"{len(wanted)} labels"
            there = ", ".join(map(str, kinds[:40])) + (", …" if len(kinds) > 40 else "")
            raise InputError(where, "labels", found, f"1 to {MAX_CLASSES - 1} of {there}")
    else:
        raise InputError(where, "labels", repr(keep), f"a list of labels to keep, by number or name, or '{COMMONEST}'")
    stays = np.isin(read.labels, wanted)
    out, voxels = len(kinds) - len(wanted), int(counts[~np.isin(kinds, wanted)].sum())
    gone = f"{out} with {voxels / counts.sum():.2%} of the voxels are empty"
    words = f"{short_name(where)}: {len(wanted)} of {len(kinds)} labels are kept; {gone}"
    return read._replace(labels=np.where(stays, read.labels, 0)).noted(*[words] * bool(out))


def _merged(read: Labels, merge: object, where: object) -> Labels:
    """Makes one label of several."""
    if not isinstance(merge, Mapping) or not merge:
        raise InputError(where, "merge", repr(merge), "a table {new = [old, old], …} or {old = new}")
    labels, names = read.labels.astype(np.int64), dict(read.names)
    kinds = present(labels)
    target = {int(kind): int(kind) for kind in kinds}
    fresh = int(kinds.max()) + 1
    said = []
    for key, value in merge.items():
        new, olds = (key, list(value)) if isinstance(value, Sequence) and not isinstance(value, str) else (value, [key])
        try:
            number = _number(new, read._replace(names=names), where, "merge")
        except InputError:
            if not isinstance(new, str):
                raise
            number, fresh = fresh, fresh + 1
            names[number] = new
        for old in olds:
            label = _number(old, read, where, "merge")
            if label not in target:
                raise InputError(where, "merge", f"{old!r}, which no voxel has", ", ".join(map(str, kinds[:40])))
            target[label] = number
        said.append(f"{len(olds)} into {names.get(number, number)}")
    index = np.searchsorted(kinds, labels)
    table = np.array([target[int(kind)] for kind in kinds])
    merged = np.where(labels == 0, 0, table[np.minimum(index, len(kinds) - 1)])
    palette = dict(read.palette) if read.palette else None
    for old, new in target.items():
        if palette is not None and old in palette:
            palette.setdefault(new, palette[old])
    words = f"{short_name(where)}: labels are merged: {', '.join(said)}"
    return Labels(merged, names, palette, read.notes).noted(words)
