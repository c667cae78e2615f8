"""How well a body matches its target, and how a state looks: `iou`, `colour_error`, `label_accuracy`, `to_rgba`."""

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.targets.target import OCCUPIED_ALPHA, Target

# Pictures of states that are no body, by their visible kind: functions (state, rule, scale) -> RGBA. Wings add theirs.
PICTURES = Registry("picture")


def occupied(state: Tensor, visible: int, kind: str) -> Tensor:
    """Returns which cells belong to the body, bool (B, D, H, W): alpha > 0.1 (classes: and the strongest class is not 0).

    Args:
        state: (B, C, D, H, W).
        visible: number of visible channels; alpha is the next one.
        kind: "rgb" or "classes".

    Raises:
        ValueError: the kind is "signal", which has no body.
    """
    if kind == "signal":
        raise ArgumentError("visible_kind", "'signal'", "'rgb', 'classes': a cube of signals has no body (see to_rgba)")
    inside = state[:, visible] > OCCUPIED_ALPHA
    # Class 0 is empty space: a living cell that shows it is invisible, so it doesn't count.
    if kind == "classes":
        inside = inside & (state[:, :visible].argmax(dim=1) != 0)
    return inside


def body_mask(state: Tensor, rule: Rule) -> Tensor:
    """Returns which cells belong to the body that a rule has grown, bool (B, D, H, W); see `occupied`.

    Args:
        state: (B, C, D, H, W).
        rule: says what the visible channels mean.

    Raises:
        ValueError: the rule shows signals, which have no body.
    """
    return occupied(state.detach(), rule.visible, rule.visible_kind)


def iou(state: Tensor | np.ndarray, target: Target) -> Tensor:
    """Returns intersection over union of occupied cells, for each sample. It has no gradient, so it is no loss (law 12).

    Args:
        state: a state (B, C, D, H, W), or pictures, numpy (B, D, H, W, 4).
        target: the body to compare with.

    Returns:
        float32 (B,), 0..1; 1 where both are empty. A cell with a non-finite alpha is not occupied.

    Raises:
        ValueError: the lattice is not the target's, or the target shows signals.
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
    expected = target.occupied.to(grown.device)
    both = (grown & expected).flatten(1).sum(1).float()
    either = (grown | expected).flatten(1).sum(1).float()
    # Two empty bodies are equal.
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def colour_error(state: Tensor, target: Target) -> Tensor:
    """Returns how far off colours are: mean |difference| of straight red, green, blue over the cells in body and target.

    A missing or superfluous cell is counted by `iou` alone, so the two metrics don't count one error twice.

    Args:
        state: (B, C, D, H, W).
        target: the body to compare with, of kind "rgb".

    Returns:
        float32 (B,), from 0 (equal) to 1; 1 where they share no cell.

    Raises:
        ValueError: the target has classes.
    """
    if target.kind != "rgb":
        raise ArgumentError("colour_error", "a target of classes", "'rgb': see label_accuracy")
    grown, expected, both = _shared(state, target)
    # NaN counts as the largest error, else it would spread to the mean.
    difference = (unpremultiply(grown) - unpremultiply(expected)).nan_to_num(1.0).abs().clamp_max(1.0).mean(dim=1)
    return _mean_where(difference, both, none=1.0)


def label_accuracy(state: Tensor, target: Target) -> Tensor:
    """Returns the share of cells with the right class, among the cells in both body and target.

    Args:
        state: (B, C, D, H, W).
        target: the body to compare with, of kind "classes".

    Returns:
        float32 (B,), 0..1; 0 where they share no cell.

    Raises:
        ValueError: the target has colours.
    """
    if target.kind != "classes":
        raise ArgumentError("label_accuracy", "a target of colours", "'classes': see colour_error")
    grown, expected, both = _shared(state, target)
    return _mean_where((grown[:, :-1].argmax(dim=1) == expected[:, :-1].argmax(dim=1)).float(), both, none=0.0)


def unpremultiply(shown: Tensor) -> Tensor:
    """Returns straight red, green, blue in 0..1, (N, 3, …), of premultiplied colours and alpha, (N, 4, …)."""
    # The smallest alpha that is divided by: a nearly transparent colour is noise.
    return (shown[:, :3] / shown[:, 3:4].clamp_min(1e-6)).clamp(0.0, 1.0)


def _shared(state: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
    """Returns visible channels and alpha of state and target, (B, K+1, D, H, W), and the cells in both, bool (B, D, H, W)."""
    visible = state.detach()[:, : target.visible + 1]
    if tuple(visible.shape[2:]) != target.size:
        raise ArgumentError("state", f"lattice {tuple(visible.shape[2:])}", f"the target's {target.size}")
    both = occupied(visible, target.visible, target.kind) & target.occupied.to(visible.device)
    return visible, target.values.to(visible)[None], both


def _mean_where(values: Tensor, where: Tensor, none: float) -> Tensor:
    """Returns the mean over the cells in `where`, (B,); `none` for a sample without any."""
    count = where.flatten(1).sum(dim=1)
    total = torch.where(where, values, 0.0).flatten(1).sum(dim=1)
    return torch.where(count > 0, total / count.clamp_min(1), none)


def to_rgba(state: Tensor, rule: Rule, palette: np.ndarray | None = None, scale: float | None = None) -> np.ndarray:
    """Returns pictures of states for `visualize`: numpy float32 (B, D, H, W, 4) in 0..1 with straight alpha.

    Args:
        state: (B, C, D, H, W).
        rule: says what the visible channels mean.
        palette: float (K, 3), colours of the classes (`Target.palette`); None = `hues`.
        scale: for rules that show signals, the activity that is brightest; None = the largest among these states, so that
            states of one call can be compared: a film is `to_rgba(trajectory.states[:, 0], rule)`, or frames with one scale.

    Returns:
        Straight colours; cells outside the body, and non-finite ones, are fully transparent. A rule of signals shows activity:
        the root mean square of a cell's features, dark to bright, and alpha grows with it.

    Raises:
        ValueError: the scale is not above 0, or the states have other axes or channels than the rule's.
    """
    if state.ndim != 5 or state.shape[1] != rule.channels:
        raise ArgumentError("state", f"shape {tuple(state.shape)}", f"(B, {rule.channels}, D, H, W)")
    # float32 on the CPU: pictures need no more, and NumPy has no bfloat16.
    values = state.detach().float().cpu()
    if rule.visible_kind in PICTURES:
        return PICTURES[rule.visible_kind](values, rule, scale)
    alpha = values[:, rule.alpha].numpy()
    inside = np.isfinite(alpha) & occupied(values, rule.visible, rule.visible_kind).numpy()
    if rule.visible_kind == "classes":
        colours = np.asarray(palette if palette is not None else hues(rule.visible), dtype=np.float32)
        colour = colours[values[:, : rule.visible].argmax(dim=1).numpy()]
    else:
        # States hold premultiplied colours, pictures straight ones.
        colour = np.moveaxis(values[:, :3].numpy(), 1, -1) / np.where(inside, alpha, 1.0)[..., None]
    picture = np.concatenate([np.nan_to_num(colour), alpha[..., None]], axis=-1)
    return np.where(inside[..., None], picture, 0.0).clip(0.0, 1.0).astype(np.float32)


def hues(count: int) -> np.ndarray:
    """Returns colours for classes, (count, 3) in 0..1: black for class 0, then those of Okabe and Ito (2008) in turn.

    Their eight colours can be told apart by people with any kind of colour vision.
    """
    # Beyond eight classes colours repeat: more could not be told apart anyway.
    okabe_ito = ["e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7", "999999"]
    codes = ["000000", *(okabe_ito[k % len(okabe_ito)] for k in range(count - 1))]
    return np.array([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in codes])
