"""How well a body matches its target, and how a state looks: `iou`, `colour_error`, `label_accuracy`, `to_rgba`."""

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.targets.target import OCCUPIED_ALPHA, Target

# How states look that are no body, by their visible kind: (state, rule, scale) -> RGBA.
PICTURES = Registry("picture")


def occupied(state: Tensor, visible: int, kind: str) -> Tensor:
    """Which cells belong to the body: alpha > 0.1 (classes: and the strongest class is not 0), bool (B, D, H, W).

    Raises:
        ValueError: a rule of signals, which has no body.
    """
    if kind == "signal":
        raise ArgumentError("visible_kind", "'signal'", "'rgb', 'classes': a cube of signals has no body (see to_rgba)")
    there = state[:, visible] > OCCUPIED_ALPHA
    if kind == "classes":
        there = there & (state[:, :visible].argmax(dim=1) != 0)
    return there


def body_mask(state: Tensor, rule: Rule) -> Tensor:
    """Which cells belong to the body that a rule has grown, bool (B, D, H, W): see `occupied`.

    Args:
        state: (B, C, D, H, W).
        rule: says what the visible channels mean.

    Raises:
        ValueError: a rule of signals, which has no body.
    """
    return occupied(state.detach(), rule.visible, rule.visible_kind)


def iou(state: Tensor | np.ndarray, target: Target) -> Tensor:
    """Intersection over union of occupied cells, for each sample. A metric, not a loss: it has no gradient (law 12).

    Args:
        state: a state (B, C, D, H, W), or pictures, numpy (B, D, H, W, 4).
        target: the body asked for.

    Returns:
        float32 (B,), 0..1; 1 where both are empty. A non-finite alpha counts as not there.

    Raises:
        ValueError: another shape than the target's lattice, or a target of signals.
    """
    if isinstance(state, np.ndarray):
        grown = torch.from_numpy(np.ascontiguousarray(state[..., 3])) > OCCUPIED_ALPHA
    elif state.ndim != 5 or state.shape[1] <= target.visible:
        raise ArgumentError(
            "state", f"shape {tuple(state.shape)}", f"(B, C, D, H, W), C above the {target.visible} of the target"
        )
    else:
        grown = occupied(state.detach(), target.visible, target.kind)
    if grown.ndim != 4 or tuple(grown.shape[1:]) != target.size:
        raise ArgumentError("state", f"lattice {tuple(grown.shape[1:])}", f"the target's {target.size}")
    wanted = target.occupied.to(grown.device)
    both = (grown & wanted).flatten(1).sum(1).float()
    either = (grown | wanted).flatten(1).sum(1).float()
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def colour_error(state: Tensor, target: Target) -> Tensor:
    """How far off the colours are: mean |difference| of straight red, green, blue over the cells that body and target share.

    A cell that is missing or too many is the IoU's affair, so the two figures don't count one fault twice.

    Args:
        state: (B, C, D, H, W).
        target: the body asked for, of kind "rgb".

    Returns:
        float32 (B,), 0 (the same) .. 1; 1 where they share no cell.

    Raises:
        ValueError: the target has classes.
    """
    if target.kind != "rgb":
        raise ArgumentError("colour_error", "a target of classes", "'rgb': see label_accuracy")
    found, wanted, both = _shared(state, target)
    difference = (unpremultiply(found) - unpremultiply(wanted)).nan_to_num(1.0).abs().clamp_max(1.0).mean(dim=1)
    return _mean_where(difference, both, none=1.0)


def label_accuracy(state: Tensor, target: Target) -> Tensor:
    """The share of right classes among the cells that body and target share.

    Args:
        state: (B, C, D, H, W).
        target: the body asked for, of kind "classes".

    Returns:
        float32 (B,), 0 .. 1; 0 where they share no cell.

    Raises:
        ValueError: the target has colours.
    """
    if target.kind != "classes":
        raise ArgumentError("label_accuracy", "a target of colours", "'classes': see colour_error")
    found, wanted, both = _shared(state, target)
    return _mean_where((found[:, :-1].argmax(dim=1) == wanted[:, :-1].argmax(dim=1)).float(), both, none=0.0)


def unpremultiply(shown: Tensor) -> Tensor:
    """Premultiplied red, green, blue and alpha along axis 1 -> straight red, green, blue, 0 .. 1."""
    return (shown[:, :3] / shown[:, 3:4].clamp_min(1e-6)).clamp(0.0, 1.0)


def _shared(state: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
    """Visible channels and alpha of the state and of the target, and where both have a cell."""
    shown = state.detach()[:, : target.visible + 1]
    if tuple(shown.shape[2:]) != target.size:
        raise ArgumentError("state", f"lattice {tuple(shown.shape[2:])}", f"the target's {target.size}")
    both = occupied(shown, target.visible, target.kind) & target.occupied.to(shown.device)
    return shown, target.values.to(shown)[None], both


def _mean_where(values: Tensor, where: Tensor, none: float) -> Tensor:
    count = where.flatten(1).sum(dim=1)
    total = torch.where(where, values, 0.0).flatten(1).sum(dim=1)
    return torch.where(count > 0, total / count.clamp_min(1), none)


def to_rgba(state: Tensor, rule: Rule, palette: np.ndarray | None = None, scale: float | None = None) -> np.ndarray:
    """Pictures of states: numpy float32 (B, D, H, W, 4), straight alpha, 0..1: what `visualize` takes.

    Args:
        state: (B, C, D, H, W).
        rule: says what the visible channels mean.
        palette: float (K, 3) colours of the classes (`Target.palette`); None = one of our own, even in hue.
        scale: for rules of signals, the activity that is brightest; None = the largest of the given states, so that states
            given together can be compared: a film is `to_rgba(trajectory.states[:, 0], rule)`, or frames with one scale.

    Returns:
        Colours un-premultiplied; cells that are not there, and non-finite ones, are fully transparent. A rule of signals
        shows activity: the root mean square of a cell's features, dark to bright, and alpha grows with it.

    Raises:
        ValueError: a scale that is not above 0.
    """
    values = state.detach().float().cpu()
    if rule.visible_kind in PICTURES:
        return PICTURES[rule.visible_kind](values, rule, scale)
    alpha = values[:, rule.alpha].numpy()
    there = np.isfinite(alpha) & occupied(values, rule.visible, rule.visible_kind).numpy()
    if rule.visible_kind == "classes":
        colours = np.asarray(palette if palette is not None else hues(rule.visible), dtype=np.float32)
        colour = colours[values[:, : rule.visible].argmax(dim=1).numpy()]
    else:
        colour = np.moveaxis(values[:, :3].numpy(), 1, -1) / np.where(there, alpha, 1.0)[..., None]
    picture = np.concatenate([np.nan_to_num(colour), alpha[..., None]], axis=-1)
    return np.where(there[..., None], picture, 0.0).clip(0.0, 1.0).astype(np.float32)


def hues(count: int) -> np.ndarray:
    """`count` colours: black for empty, then the colour-blind-safe set of Okabe and Ito (2008) in turn."""
    okabe_ito = ["e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7", "999999"]
    codes = ["000000", *(okabe_ito[k % len(okabe_ito)] for k in range(count - 1))]
    return np.array([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in codes])
