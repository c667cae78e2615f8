"""The lattice as a graph: one edge for each neighbour, its direction on the edge; and rules on any graph, such as a mesh.

A cell sees by message passing (Gilmer et al. 2017): each edge carries its source's state times the kernel's weight for
its direction, and a cell adds up what arrives. It is the plain, general executor: any neighbourhood, plain autograd, no
code shared with the others (rules with a step of their own bring their own messages). Sums along
edges come from PyTorch Geometric (Fey & Lenssen 2019), extra `graph`; on a GPU they are added in no fixed order, so there two
runs agree but for rounding, unless `torch.use_deterministic_algorithms(True)`.

Where a rule's kernels know no direction, the graph need not be a lattice: `run_on_graph` (Grattarola et al. 2021,
"Learning Graph Cellular Automata").
"""

from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from nca3d.errors import ArgumentError, InputError
from nca3d.executors.every_cell import AT_FIRST, Clock, stepper_of
from nca3d.lattice import NEIGHBOURHOODS, Size, as_size
from nca3d.rules.cell import Rule

# The offset of the edge from a cell to itself: it carries the kernel's centre.
CENTRE = (0, 0, 0)


class LatticeGraph(NamedTuple):
    """The edges of a lattice.

    Attributes:
        edges: int64 (2, E), source and target, sorted by target.
        direction: int64 (E,), a place in the flat 3×3×3 kernel.
    """

    edges: Tensor
    direction: Tensor


@lru_cache(maxsize=8)
def lattice_graph(size: Size, padding: str, neighbourhood: str, device: torch.device) -> LatticeGraph:
    """Returns every cell's neighbours, and the cell itself, as edges; cells are counted in the order of (D, H, W).

    What lies beyond the border: "zeros", no edge; "replicate", an edge from the nearest cell of the lattice (so several
    may come from one cell); "circular", from the opposite side (from the cell itself along a side of 1).
    """
    # A cache must not hold what a first caller's inference mode makes useless for a later one's gradients.
    with torch.inference_mode(False):
        offsets = sorted((CENTRE, *NEIGHBOURHOODS[neighbourhood]))
        sides = torch.tensor(size)
        cells = torch.cartesian_prod(*(torch.arange(side) for side in size))
        sources = cells[:, None] + torch.tensor(offsets)  # (N, offsets, 3)
        inside = torch.ones(sources.shape[:2], dtype=torch.bool)
        if padding == "circular":
            sources = sources % sides
        elif padding == "replicate":
            sources = sources.clamp(torch.zeros(3, dtype=torch.long), sides - 1)
        else:
            inside = ((sources >= 0) & (sources < sides)).all(dim=2)
        strides = torch.tensor([size[1] * size[2], size[2], 1])
        targets = torch.arange(len(cells))[:, None].expand_as(inside)
        directions = torch.tensor([9 * (d + 1) + 3 * (h + 1) + (w + 1) for d, h, w in offsets]).expand_as(inside)
        edges = torch.stack([(sources * strides).sum(dim=2)[inside], targets[inside]])
        return LatticeGraph(edges.to(device), directions[inside].to(device))


def mesh_graph(faces: object) -> Tensor:
    """Returns the graph of a mesh's vertices: an edge for each side of a face, in both directions, each once.

    Vertices that coincide without being one are not connected: merge them first (`trimesh` does so when it loads).

    Args:
        faces: whole numbers (F, 3), or (F, n) for polygons of n corners: tensor, array or lists.

    Returns:
        int64 (2, E), sorted by target.

    Raises:
        ValueError: not whole numbers of that shape, or a negative one.
    """
    corners = torch.as_tensor(faces)
    whole = not (corners.is_floating_point() or corners.is_complex() or corners.dtype == torch.bool)
    if not whole or corners.ndim != 2 or corners.shape[1] < 3 or (corners.long() < 0).any():
        raise ArgumentError("faces", f"{corners.dtype} {tuple(corners.shape)}", "whole numbers (F, 3 or more), 0 or more")
    corners = corners.long()
    sides = torch.stack([corners.flatten(), corners.roll(-1, 1).flatten()])
    # A polygon that names a vertex twice has no edge from it to itself.
    sides = sides[:, sides[0] != sides[1]]
    return torch.cat([sides, sides.flip(0)], dim=1).unique(dim=1).flip(0)


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock = AT_FIRST) -> Tensor:
    """Runs several steps on the lattice.

    Choose it to follow a step message by message, or for another neighbourhood; `dense` does the same faster.

    Args:
        rule: what one cell does. Of a "von_neumann" rule's kernels only the centre and the 6 faces count.
        state: float (B, D, H, W, C).
        fire: bool (T, B, D, H, W), the cells that update in each of the T steps.
        clock: when that is, for rules that care.

    Returns:
        The last state, (B, D, H, W, C).

    Raises:
        InputError: PyTorch Geometric is not installed.
        ValueError: a rule that overrides the step itself and brings no stepper for this.
    """
    if own := stepper_of(rule):
        return own.runs["graph"](rule, state, fire, clock)
    if rule.has_own_step():
        why = "has a step of its own (it overrides forward, perceive, alive_mask or pad)"
        raise ArgumentError("executor", f"'graph' for {type(rule).__name__}, which {why}", "'dense'")
    size = as_size(state.shape[1:4])
    seen = lattice_graph(size, rule.padding, rule.neighbourhood, state.device)
    touching = lattice_graph(size, rule.padding, "moore", state.device)

    def weigh() -> Tensor | None:
        kernels = [kernel.flatten(1) for kernel in rule.kernels() if kernel is not None]
        if not kernels:
            return None
        taps = torch.stack(torch.broadcast_tensors(*kernels))  # (K, 1 or C, 27)
        return taps.permute(2, 0, 1).contiguous().index_select(0, seen.direction)[:, :, None]

    nodes = state.flatten(1, 3).transpose(0, 1).contiguous()  # a gather of strided rows takes ten times as long
    fired = fire.flatten(2).transpose(1, 2)
    nodes = _steps(rule, nodes, fired, seen.edges, weigh, touching.edges)
    return nodes.transpose(0, 1).reshape(state.shape).contiguous()


def run_on_graph(rule: Rule, state: Tensor, edge_index: Tensor, fire: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """Runs several steps of an isotropic rule on any graph, for instance the vertices of a mesh (`mesh_graph`).

    In place of the kernel's Laplacian a node i with edges j → i of weights w sees

        s · (Σ_j w_ij x_j / Σ_j w_ij − x_i)         s = 88/26, minus the centre of the 27-point kernel

    (0 for a node without edges). So a node weighs itself as a cell does, and what a cell spreads over its 26 neighbours a node
    spreads over its own: a rule trained on a lattice meets numbers of the size that it knows. On a circular lattice with
    the kernel's weights (faces 6, edges 3, corners 2) it *is* the kernel. A node lives on if its alpha or that of a
    neighbour is above the threshold, before and after. `rule.padding` has no meaning here. Several bodies are one graph in
    several parts, as everywhere in PyTorch Geometric.

    Args:
        rule: a rule whose kernels are the identity and a Laplacian: `perception="isotropic"`.
        state: float (N, C).
        edge_index: int64 (2, E), source and target; an undirected edge stands in it twice.
        fire: bool (T, N): `nca3d.fire_mask(random_seed, range(T), [0], (1, 1, N), rate).flatten(1)`.
        edge_weight: float (E,), above 0; None = all alike.

    Returns:
        The last state, (N, C).

    Raises:
        ValueError: a rule that looks in directions, or tensors that don't fit; the line says what is allowed.
        InputError: PyTorch Geometric is not installed.
    """
    _check(rule, state, edge_index, fire, edge_weight)
    # Every node is a source of its own: the kernel's centre is an edge like any other.
    loops = torch.arange(len(state), device=state.device).expand(2, -1)
    edges = torch.cat([edge_index, loops], dim=1)
    weight = _laplacian(rule, len(state), edge_index, edge_weight).to(state.dtype)[:, None, None, None]
    return _steps(rule, state[:, None], fire[..., None], edges, lambda: weight, edges)[:, 0]


def _steps(
    rule: Rule, nodes: Tensor, fire: Tensor, edges: Tensor, weigh: Callable[[], Tensor | None], touching: Tensor
) -> Tensor:
    """Runs `Rule.forward` with nodes (N, B, C) in place of cells, for each mask in fire (T, N, B).

    Weights are computed in each step: the gradients of learned kernels are then summed step by step, in the same order
    however a rollout is cut into segments, so that what is kept in memory changes not one bit (law 8).
    """
    along = messages()

    def alive(cells: Tensor) -> Tensor:
        if rule.alive_threshold is None:
            return torch.ones_like(cells[..., 0], dtype=torch.bool)
        # Every node is a source of its own, so "here or in a neighbour" is one count.
        return along.count(cells[..., rule.alpha] > rule.alive_threshold, touching) > 0

    def perceive(cells: Tensor) -> Tensor:
        weight = weigh()
        fields = iter(() if weight is None else along.weighted_sum(cells, edges, weight).unbind(1))
        return torch.cat([cells if kernel is None else next(fields) for kernel in rule.kernels()], dim=-1)

    # As `Rule.forward` has it, node for node.
    for fire_now in fire:
        pre = alive(nodes)
        delta = rule.update(perceive(nodes)).to(nodes.dtype)
        y = torch.where(fire_now[..., None], nodes + rule.step_size * delta, nodes)
        post = alive(y)
        nodes = torch.where((pre & post)[..., None], y, rule.dead_value)
    return nodes


def _laplacian(rule: Rule, nodes: int, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
    """Returns a weight for each edge, then for each node's edge to itself: (E + N,)."""
    strength = next(kernel for kernel in rule.kernels() if kernel is not None)[0, 1, 1, 1].neg()
    shares = strength.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight.to(strength.dtype)
    total = shares.new_zeros(nodes).index_add(0, edge_index[1], shares)
    return strength * torch.cat([shares / total[edge_index[1]], -(total > 0).to(strength.dtype)])


def _check(rule: Rule, state: Tensor, edge_index: Tensor, fire: Tensor, edge_weight: Tensor | None) -> None:
    perception = getattr(rule, "perception", None)
    if perception != "isotropic":
        raise ArgumentError(
            "rule",
            f"perception {perception!r}",
            "'isotropic' (identity and Laplacian): a graph has no axes, "
            "so a kernel that looks in directions means nothing on it",
        )
    if state.ndim != 2 or state.shape[1] != rule.channels or not state.is_floating_point():
        raise ArgumentError("state", f"{state.dtype} {tuple(state.shape)}", f"float (N, {rule.channels})")
    nodes = len(state)
    fits = edge_index.ndim == 2 and len(edge_index) == 2 and edge_index.dtype == torch.int64
    if not fits or (edge_index < 0).any() or (edge_index >= nodes).any():
        raise ArgumentError(
            "edge_index", f"{edge_index.dtype} {tuple(edge_index.shape)}", f"int64 (2, E), each 0 .. {nodes - 1}"
        )
    if fire.ndim != 2 or fire.shape[1] != nodes or fire.dtype != torch.bool:
        raise ArgumentError("fire", f"{fire.dtype} {tuple(fire.shape)}", f"bool (T, {nodes})")
    if edge_weight is not None and (edge_weight.shape != edge_index.shape[1:] or not (edge_weight > 0).all()):
        raise ArgumentError("edge_weight", f"shape {tuple(edge_weight.shape)}", f"({edge_index.shape[1]},), each above 0")


def messages() -> ModuleType:
    """Imports the sums along edges late: PyTorch Geometric takes seconds, and no one pays for it who doesn't use it.

    Raises:
        InputError: PyTorch Geometric is not installed.
    """
    try:
        from nca3d.executors import graph_messages
    except ImportError as error:
        raise InputError("executor", "graph", "no torch-geometric", "pip install 'nca3d[graph]'") from error
    return graph_messages
