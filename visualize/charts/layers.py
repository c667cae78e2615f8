"""A cube of cells opened like a book: every layer from the front face to the back face, numbers or kinds in its cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.arguments import as_columns, as_number, quoted
from visualize.charts.figure import COLOURS, INK, QUIET, literal
from visualize.charts.flat import BORDER, VIEW, draw_page, label_cells
from visualize.charts.layers_page import Page, bar_key, kinds_key
from visualize.errors import ArgumentError
from visualize.fields import COLOUR_MAP, as_field
from visualize.fields import limits as range_of
from visualize.frames import NOT_FINITE, FloatArray, as_colour

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WHERE = "layers"
KIND_COLOURS = (*COLOURS, "#8c8c8c", "#3a3a3a")  # after those of Okabe & Ito two greys, light and dark


def layers(
    values: ArrayLike | None = None,
    *,
    label: str = "",
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    colours: str = COLOUR_MAP,
    categories: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    columns: int | None = None,
) -> "Figure":
    """A Figure of all layers of a cube in reading order, the front face (d = 0) first, in one scale and with one key.

    Numbers are shown by colour. Categories have a colour each; values given with them fade it to paper where they are low.
    x runs along W, y along H and up, as in all flat views.

    Args:
        values: (D,H,W) numbers; what isn't finite is magenta. With categories their strength, or None for full colours.
        label: what the values are, with their unit.
        title: a line above.
        limits: the values at both ends of the colours; default from the lowest (0 if none is negative) to the highest, with
            categories 0 and 1. Values beyond them keep the end's colour.
        colours: a colour map of matplotlib, for numbers.
        categories: (D,H,W) whole numbers into `names`.
        names: of 1 to 8 categories.
        columns: layers in a row; default rows of equal length, at most 4.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    kinds = _as_kinds(categories, names)
    field = None if values is None else as_field(values, None if kinds is None else kinds.shape, 3, WHERE)
    shown = field if kinds is None else kinds
    if shown is None:
        raise ArgumentError(WHERE, "values", "None without categories", "(D,H,W) numbers")
    low, high = as_limits(limits, field if kinds is None else None, WHERE)
    colour_of = colour_map(colours, WHERE, field, (low, high))
    ends = None if field is None else (low, high)
    key = bar_key(label) if kinds is None else kinds_key(_named(names), ends, label)
    page = Page(shown.shape, as_columns(columns, WHERE), title, key)
    mesh = None
    for index, (axes, name) in enumerate(zip(page.panels, layer_names(len(shown), short=page.narrow), strict=True)):
        if kinds is None:
            mesh = draw_page(axes, shown[index], cmap=colour_of, vmin=low, vmax=high)
        else:
            draw_page(axes, faded(kinds[index], None if field is None else (field[index] - low) / (high - low)))
        face = not name.startswith("layer")
        axes.set_title(name, color=INK if face else QUIET, fontsize=10, loc="left", pad=4)
        axes.spines[:].set(color=INK if face else BORDER, linewidth=1.4 if face else 0.8)
        corner = axes is page.corner
        label_cells(axes, VIEW["top"], max(shown.shape[1:]), across=corner, upward=corner)
    key.draw(page, mesh)
    literal(page.figure)
    return page.figure


def layer_names(count: int, *, short: bool = False) -> list[str]:
    """What stands above each layer."""
    words = [f"layer {index}" for index in range(count)]
    if count > 1:
        words[0] = "front · 0" if short else f"front face · {words[0]}"
        words[-1] = f"back · {count - 1}" if short else f"back face · {words[-1]}"
    return words


def as_limits(limits: Sequence[float] | None, values: FloatArray | None, where: str) -> tuple[float, float]:
    """Both ends (low, high) of the colours: as given, else those of the values (D,H,W), else 0 and 1.

    Raises:
        ValueError: they aren't two finite numbers, the second above the first.
    """
    if limits is None:
        return (0.0, 1.0) if values is None else range_of(values)
    allowed = "(low, high), finite, low below high"
    try:
        low, high = (as_number(limit, where, "limits", -1e30, 1e30, allowed) for limit in limits)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise ArgumentError(where, "limits", quoted(limits), allowed)
    return low, high


def colour_map(name: object, where: str, values: FloatArray | None, ends: tuple[float, float]) -> "Colormap":
    """A colour map with magenta for what isn't finite, and a bar with arrows at the ends that the values (D,H,W) go beyond.

    Raises:
        ValueError: matplotlib knows none of that name.
    """
    import matplotlib

    if not isinstance(name, str) or name not in matplotlib.colormaps:
        raise ArgumentError(where, "colours", quoted(name), f"a colour map of matplotlib, such as {COLOUR_MAP}")
    found = matplotlib.colormaps[name].with_extremes(bad=NOT_FINITE)
    if values is not None:
        beyond = bool((values < ends[0]).any()), bool((values > ends[1]).any())
        arrows = {(True, False): "min", (False, True): "max", (True, True): "both"}
        found.colorbar_extend = arrows.get(beyond, False)  # type: ignore[assignment]
    return found


def faded(kinds: NDArray[np.int64], strength: FloatArray | None = None) -> FloatArray:
    """Colours (…,3) of kinds (…,): white paper at strength 0 and below, a kind's whole colour at strength 1 and above."""
    colour = np.stack([as_colour(name, WHERE) for name in KIND_COLOURS])[kinds]
    if strength is None:
        return colour
    page = 1 - np.clip(np.nan_to_num(strength), 0, 1)[..., None] * (1 - colour)
    page[np.isnan(strength)] = NOT_FINITE[:3]
    return np.asarray(page, np.float32)


def _named(names: Sequence[str] | None) -> dict[str, FloatArray]:
    """{name: (64,3)}, each category's colour from paper to full."""
    shades = np.linspace(0, 1, 64, dtype=np.float32)
    return {str(name): faded(np.full(64, kind), shades) for kind, name in enumerate(names or ())}


def _as_kinds(categories: ArrayLike | None, names: Sequence[str] | None) -> NDArray[np.int64] | None:
    if categories is None:
        if names is not None:
            raise ArgumentError(WHERE, "names", f"{quoted(names)} without categories", "None")
        return None
    most = len(KIND_COLOURS)
    if names is None or isinstance(names, str) or not 1 <= len(set(names)) == len(names) <= most:
        raise ArgumentError(WHERE, "names", quoted(names), f"1..{most} different names of categories")
    numbers = as_field(categories, None, 3, WHERE, "categories")
    wrong = numbers[~np.isin(numbers, range(len(names)))]
    if wrong.size:
        raise ArgumentError(WHERE, "categories", f"{wrong[0]:g}", f"0..{len(names) - 1}, one for each name")
    return numbers.astype(np.int64)
