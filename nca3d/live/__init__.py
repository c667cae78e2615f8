"""Bodies that live where you can touch them: in a page of their own (`live_page`) or in Jupyter (`live`).

The JavaScript is kernels.js (WebAssembly for the two heavy loops), fire.js (the draw of the fire mask), cells.js (the rule, on
living cells only), worker.js and page.js (a page) and widget.js (a notebook). The package may import rules, rollout, metrics
and targets; `visualize` only inside functions.
"""

from typing import TYPE_CHECKING, TypedDict, Unpack

from nca3d.errors import InputError
from nca3d.lattice import Size
from nca3d.rules.cell import Rule
from nca3d.targets import Target

if TYPE_CHECKING:
    from nca3d.live.widget import LiveWidget


class Options(TypedDict, total=False):
    """The options of the widget.

    Attributes:
        title: The headline; None = the target's name.
        random_seed: The seed of the fire masks.
        executor: The executor's name, see `nca3d.rollout`.
        height: The height of the view in pixels.
    """

    title: str | None
    random_seed: int
    executor: str
    height: int


def live(rule: Rule, size: Size | None = None, target: Target | None = None, **options: Unpack[Options]) -> "LiveWidget":
    """Shows a living body in Jupyter: click to cut it, watch it heal. Python steps it, so any rule will do.

    Args:
        rule: Any rule; a trained one knows its lattice and its target by its card.
        size: The lattice (D, H, W); default the card's.
        target: The body that it should be; default the card's, if the rule has one.
        **options: `title` (default the target's name), `random_seed` of the fire masks, `executor`, `height` in pixels.

    Returns:
        The widget; its `.creature` is the body itself.

    Raises:
        InputError: If no size is known, the target doesn't fit, or anywidget is missing (extra `notebooks`).
    """
    if target is None and size is None and rule.card:
        # A rule of several bodies has a lattice for all of them; the widget finds their targets.
        size = tuple(rule.card["size"]) if rule.conditions else None
        target = None if rule.conditions else rule.target()
    size = size or (target.size if target is not None else None)
    if size is None:
        raise InputError("live", "size", None, "(D, H, W), or a trained rule with a card")
    try:  # here and not above: anywidget is an extra, and `live_page` does without it
        from nca3d.live.widget import LiveWidget
    except ImportError as error:
        raise InputError("live", "anywidget", "not installed", "pip install 'nca3d[notebooks]'") from error
    return LiveWidget(rule, size, target, **options)


__all__ = ["live"]
