"""A gMLP cube as message passing along the 6-connected lattice graph: every edge knows from which side it comes.

Choose it to check the other executors: plain autograd, all cells at once, no blocks and no code of its own for gradients. It
is the slowest one and keeps every activation.

A cell looks at each neighbour separately, so a sum over edges is not enough. Each cell has six slots, and the message of an
edge goes to the slot of its direction (d−, d+, h−, h+, w−, w+). A slot that no edge leads to stays zero: outside the lattice
there is nothing. The rule's own cell computes the rest.
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
    """Runs several steps.

    Args:
        rule: A `GMLPRule`, alone or with its inputs.
        state: The first state, float (B, D, H, W, C).
        fire: The cells that update in each of the T steps, bool (T, B, D, H, W).
        clock: The number of the first step, which decides which channels move.

    Returns:
        The last state, (B, D, H, W, C).

    Raises:
        ArgumentError: The state has another lattice than the rule, or the rule is in training mode with dropout.
    """
    along = messages()
    cube, inputs = split_inputs(rule)
    cube.cells.require_all("executor 'graph'")
    if cube.training and cube.dropout:
        raise ArgumentError("dropout", f"{cube.dropout} with executor 'graph' in training", "0, rule.eval() or 'dense'")
    rows = cube.to_rows(state.movedim(-1, 1))
    slotted = slot_edges(cube.size, state.device)
    every = slice(None)
    for number, fire_now in enumerate(fire):
        visible = cube.visible_features(rows, inputs)
        near = along.to_slots(visible, slotted, SLOTS).flatten(2)
        perception = torch.cat([near, visible, cube.external_input(visible, inputs)], dim=-1)
        # Weights are fetched in each step, so that gradients are summed step by step however a rollout is cut (law 8).
        weights = cube.cells.of(cube.cells.part(every), every)
        out, memory = cube.cell(weights, perception, rows[..., cube.features :])
        # Under autocast the cell computes in fewer bits; states keep their own type.
        after = cube.next_rows(rows, out.to(rows.dtype), memory.to(rows.dtype))
        moves = fire_now.flatten(1).T[..., None] & cube.moving_channels(clock.step + number, rows.device)
        rows = torch.where(moves, after, rows)
    return rows.transpose(0, 1).reshape(state.shape).contiguous()


@lru_cache(maxsize=8)
def slot_edges(size: Size, device: torch.device) -> Tensor:
    """Returns each edge's source cell and the slot that it fills, int64 (2, E); slots are 6 · target + direction 0 .. 5."""
    # The result is cached, and a tensor that was made in inference mode could never be used with gradients later.
    with torch.inference_mode(False):
        graph = lattice_graph(size, "zeros", "von_neumann", device)
        # A graph numbers its directions as places in a 3×3×3 neighbourhood, 0 .. 26.
        places = [9 * (d + 1) + 3 * (h + 1) + (w + 1) for d, h, w in NEIGHBOURHOODS["von_neumann"]]
        direction = torch.full((27,), -1, device=device)
        direction[places] = torch.arange(SLOTS, device=device)
        to = direction[graph.direction]
        others = to >= 0  # drops a cell's edge to itself, which is no neighbour
        source, target = graph.edges[:, others]
        return torch.stack([source, SLOTS * target + to[others]])
