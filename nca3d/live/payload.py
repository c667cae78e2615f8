"""A rule in the form that a page takes: a description for JSON, and all weights in one row of float32."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nca3d.errors import InputError
from nca3d.executors.network import linear_layers
from nca3d.fire import Draw
from nca3d.lattice import Size, as_size
from nca3d.rollout import start_of
from nca3d.rules.cell import Rule
from nca3d.rules.coded import CodedRule
from nca3d.rules.conditional import ConditionalRule


def describe(rule: Rule, size: Size, palette: np.ndarray | None = None) -> tuple[dict[str, Any], np.ndarray]:
    """Describes a rule for `Cells` in cells.js.

    Args:
        rule: A `ConvRule`, or one of its kind: any depthwise kernels, any hidden layers.
        size: The lattice (D, H, W).
        palette: The colours of the classes, float (K, 3), 0..1; needed where visible_kind is "classes".

    Returns:
        The description, with offsets into the weights, and the weights, float32 (n,).

    Raises:
        InputError: If the rule has a step of its own; the message says where it can live instead.
    """
    if isinstance(rule, ConditionalRule):
        return _describe_several(rule, size, palette)
    # A page knows plain rules alone; what it plants has a code of zeros.
    genome, code = rule.genome, rule.code if isinstance(rule, CodedRule) else 0
    rule = rule.written_out() if isinstance(rule, CodedRule) else rule
    # What the page can't know: a step, a network, a method or a hook that was replaced in Python.
    layers = linear_layers(rule)
    own = rule.has_own_step() or {"forward", "perceive", "alive_mask", "pad"} & vars(rule).keys() or rule._forward_hooks
    if layers is None or own or rule.dead_value != 0:
        raise InputError(
            "live",
            "rule",
            type(rule).__name__,
            "a ConvRule, or a subclass that keeps its step and its network; in Jupyter nca3d.live(rule) runs any rule",
        )
    parts: list[np.ndarray] = []

    def put(tensor: Tensor) -> int:
        """Appends a tensor to the weights and returns the place of its first number."""
        offset = sum(part.size for part in parts)
        parts.append(tensor.detach().to("cpu", torch.float32).numpy().ravel())
        return offset

    kernels = [None if kernel is None else {"count": len(kernel), "offset": put(kernel)} for kernel in rule.kernels()]
    described = [
        {
            "inputs": layer.in_features,
            "outputs": layer.out_features,
            "weight": put(layer.weight),
            "bias": None if layer.bias is None else put(layer.bias),
        }
        for layer in layers
    ]
    size = as_size(size)
    # The integer that a cell's hash must stay below to fire: the page compares the same 32 bits as PyTorch does.
    below = Draw(0, 0, torch.zeros(1, dtype=torch.int64), size, rule.fire_rate, 1).below
    rule_as_json = {
        "size": list(size),
        # As one number, by which the page knows its cells.
        "start": int(np.ravel_multi_index(start_of(rule, size), size)),
        "channels": rule.channels,
        "visible": rule.visible,
        "code": code,
        "kind": rule.visible_kind,
        "palette": None if palette is None else np.round(255 * palette).astype(int).tolist(),
        "fire_below": below,
        "threshold": None if rule.alive_threshold is None else float(rule.alive_threshold),
        "step_size": float(rule.step_size),
        "padding": rule.padding,
        "kernels": kernels,
        "layers": described,
    }
    if genome is not None:
        # As of several bodies, of which there is one.
        offset, start = sum(part.size for part in parts), rule_as_json["start"]
        rule_as_json["bodies"] = {"told": False, "offset": offset, "length": len(genome), "starts": [start]}
        put(genome)
    return rule_as_json, np.concatenate(parts)


def _describe_several(rule: ConditionalRule, size: Size, palette: np.ndarray | None) -> tuple[dict[str, Any], np.ndarray]:
    """Describes a rule of several bodies: the plain rule of the first, and behind its weights what each body changes.

    `bodies` says where that begins (`offset`), how long it is for each (`length`), where each starts, and whether it is a bias
    of the first layer (`told`) or the last hidden channels of a first cell.
    """
    bound = [rule.bound(name) for name in rule.conditions]
    described, floats = describe(bound[0], size, palette)
    if rule.told:
        layers = [next(layer for layer in one.network if isinstance(layer, nn.Linear)) for one in bound]
        own = torch.stack([layer.bias.detach() for layer in layers])
    else:
        own = rule.codes.detach()
    size = as_size(size)
    described["bodies"] = {
        "told": rule.told,
        "offset": len(floats),
        "length": own.shape[1],
        "starts": [int(np.ravel_multi_index(start_of(one, size), size)) for one in bound],
    }
    return described, np.concatenate([floats, own.cpu().float().numpy().ravel()])
