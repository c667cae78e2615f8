"""A gMLP cube by message passing along the 6-connected lattice graph: every edge knows from which side it comes.

A cell asks its neighbours one by one, so a sum over edges is not enough: each cell has six slots, and the message of an edge
goes to the slot of its direction (d−, d+, h−, h+, w−, w+). A slot that no edge leads to stays zero: beyond the lattice there is
nothing. Then the rule's cell is asked. Plain autograd, all cells at once: the slow, independent check of `cells.py`.
"""

from functools import lru_cache

import torch
from torch import Tensor

from nca3d.cube.cell import split_inputs
from nca3d.errors import ArgumentError
from nca3d.executors.every_cell import Clock
from nca3d.executors.graph import lattice_graph, messages
from nca3d.lattice import NEIGHBOURHOODS, Size
from nca3d.rules.cell import Rule

SLOTS = len(NEIGHBOURHOODS["von_neumann"])


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """Several steps.

    Args:
        rule: a `GMLPRule`, alone or with what it is told.
        state: float (B, D, H, W, C).
        fire: bool (T, B, D, H, W), the cells that update in each of the T steps.
        clock: when that is: which channels move.

    Returns:
        The last state, (B, D, H, W, C).

    Raises:
        ValueError: another lattice than the rule's, or dropout in training.
    """
    along = messages()
    cube, inputs = split_inputs(rule)
    if cube.training and cube.dropout:
        raise ArgumentError("dropout", f"{cube.dropout} with executor 'graph' in training", "0, rule.eval() or 'dense'")
    rows = cube.to_rows(state.movedim(-1, 1))
    slotted = slot_edges(cube.size, state.device)
    every = slice(None)
    for number, fire_now in enumerate(fire):
        shown = cube.shown(rows, inputs)
        near = along.to_slots(shown, slotted, SLOTS).flatten(2)
        seen = torch.cat([near, shown, cube.fed(shown, inputs)], dim=-1)
        # Weights are asked for in each step, so that gradients are summed step by step however a rollout is cut (law 8).
        weights = cube.cells.of(cube.cells.part(every), every)
        out, memory = cube.cell(weights, seen, rows[..., cube.features :])
        after = cube.moved(rows, out.to(rows.dtype), memory.to(rows.dtype))
        moves = fire_now.flatten(1).T[..., None] & cube.beats(clock.step + number, rows.device)
        rows = torch.where(moves, after, rows)
    return rows.transpose(0, 1).reshape(state.shape).contiguous()


@lru_cache(maxsize=8)
def slot_edges(size: Size, device: torch.device) -> Tensor:
    """int64 (2, E): source cell, and the slot of the target cell that it fills, 6 · target + direction 0 .. 5."""
    with torch.inference_mode(False):
        graph = lattice_graph(size, "zeros", "von_neumann", device)
        places = [9 * (d + 1) + 3 * (h + 1) + (w + 1) for d, h, w in NEIGHBOURHOODS["von_neumann"]]
        direction = torch.full((27,), -1, device=device)
        direction[places] = torch.arange(SLOTS, device=device)
        to = direction[graph.direction]
        others = to >= 0  # a cell's edge to itself is no neighbour
        source, target = graph.edges[:, others]
        return torch.stack([source, SLOTS * target + to[others]])
