"""The executor `graph`: the lattice as a graph, one edge for each neighbour; and rules on any graph, such as a mesh.

Choose it to follow a step message by message, for a neighbourhood of 6 instead of 26, or on a mesh. Its cost is that of every
edge, several times that of `dense`.

A cell perceives by message passing (Gilmer et al. 2017): each edge carries its source's state times the kernel's weight for its
direction, and a cell adds up what arrives. Gradients are plain autograd, and no code is shared with other executors, so that it
can find their errors. Sums along edges come from PyTorch Geometric (Fey & Lenssen 2019), extra `graph`; on a GPU they are added
in no fixed order, so two runs agree there but for rounding, unless `torch.use_deterministic_algorithms(True)` is set.

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
        edges: The source and the target of each edge, int64 (2, E), sorted by target.
        direction: The place of each edge in the flat 3×3×3 kernel, int64 (E,).
    """

    edges: Tensor
    direction: Tensor


@lru_cache(maxsize=8)
def lattice_graph(size: Size, padding: str, neighbourhood: str, device: torch.device) -> LatticeGraph:
    """Returns an edge to each cell from each of its neighbours and from itself; cells are counted in the order of (D, H, W).

    Args:
        size: The lattice (D, H, W).
        padding: What lies beyond the border: "zeros" = no edge; "replicate" = an edge from the nearest cell of the lattice, so
            that several may come from one cell; "circular" = from the opposite side, or from the cell itself along a side of 1.
        neighbourhood: The cells that edges come from: "von_neumann" (6) or "moore" (26).
        device: The device of the edges.
    """
    # The cache outlives the caller: tensors made in its inference mode would be useless for someone else's gradients.
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

    Two vertices in one place are not connected: merge them first (`trimesh` does so when it loads).

    Args:
        faces: The corners of each face as whole numbers, (F, 3), or (F, n) for polygons of n corners: tensor, array or lists.

    Returns:
        The source and the target of each edge, int64 (2, E), sorted by target.

    Raises:
        ValueError: The faces are not whole numbers of that shape, or one is negative.
    """
    corners = torch.as_tensor(faces)
    whole = not (corners.is_floating_point() or corners.is_complex() or corners.dtype == torch.bool)
    if not whole or corners.ndim != 2 or corners.shape[1] < 3 or (corners.long() < 0).any():
        raise ArgumentError("faces", f"{corners.dtype} {tuple(corners.shape)}", "whole numbers (F, 3 or more), 0 or more")
    corners = corners.long()
    sides = torch.stack([corners.flatten(), corners.roll(-1, 1).flatten()])
    # A polygon that names a vertex twice in a row must not connect it with itself.
    sides = sides[:, sides[0] != sides[1]]
    return torch.cat([sides, sides.flip(0)], dim=1).unique(dim=1).flip(0)


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock = AT_FIRST) -> Tensor:
    """Runs several steps on the lattice.

    Choose it to follow a step message by message, or for another neighbourhood; `dense` does the same faster.

    Args:
        rule: What one cell does. Of the kernels of a "von_neumann" rule only the centre and the 6 faces count.
        state: The first state, float (B, D, H, W, C).
        fire: The cells that update in each of the T steps, bool (T, B, D, H, W).
        clock: The number and the draws of the first step, for rules that ask for them.

    Returns:
        The last state, (B, D, H, W, C).

    Raises:
        InputError: PyTorch Geometric is not installed.
        ValueError: The rule overrides the step itself and names no stepper.
    """
    if own := stepper_of(rule):
        return own.runs["graph"](rule, state, fire, clock)
    if rule.has_own_step():
        why = "has a step of its own (it overrides forward, perceive, alive_mask or pad)"
        raise ArgumentError("executor", f"'graph' for {type(rule).__name__}, which {why}", "'dense'")
    size = as_size(state.shape[1:4])
    perceived = lattice_graph(size, rule.padding, rule.neighbourhood, state.device)
    # A cell lives by all that it touches, whichever of them it perceives.
    touching = lattice_graph(size, rule.padding, "moore", state.device)

    def weigh() -> Tensor | None:
        """Returns the weights of the edges, (E, K, 1, 1 or C); None where a rule perceives only itself."""
        kernels = [kernel.flatten(1) for kernel in rule.kernels() if kernel is not None]
        if not kernels:
            return None
        taps = torch.stack(torch.broadcast_tensors(*kernels))  # (K, 1 or C, 27)
        return taps.permute(2, 0, 1).contiguous().index_select(0, perceived.direction)[:, :, None]

    # Contiguous: a gather of strided rows takes ten times as long.
    nodes = state.flatten(1, 3).transpose(0, 1).contiguous()
    fired = fire.flatten(2).transpose(1, 2)
    nodes = _steps(rule, nodes, fired, perceived.edges, weigh, touching.edges)
    return nodes.transpose(0, 1).reshape(state.shape).contiguous()


def run_on_graph(rule: Rule, state: Tensor, edge_index: Tensor, fire: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """Runs several steps of an isotropic rule on any graph, for instance the vertices of a mesh (`mesh_graph`).

    In place of the kernel's Laplacian a node i with edges j → i of weights w perceives

        s · (Σ_j w_ij x_j / Σ_j w_ij − x_i)         s = 88/26, minus the centre of the 27-point kernel

    and 0 without edges. So a node weighs itself as a cell does, and all its neighbours together as a cell does its 26: a rule
    that was trained on a lattice meets numbers of the size that it knows. On a circular lattice with the kernel's weights
    (faces 6, edges 3, corners 2) it *is* the kernel. A node lives on if its alpha or that of a neighbour is above the
    threshold, before and after. `rule.padding` has no meaning here. Several bodies are one graph in several parts, as always in
    PyTorch Geometric.

    Args:
        rule: A rule whose kernels are the identity and a Laplacian: `perception="isotropic"`.
        state: The first state of the nodes, float (N, C).
        edge_index: The source and the target of each edge, int64 (2, E); an undirected edge is listed twice.
        fire: The nodes that update in each step, bool (T, N):
            `nca3d.fire_mask(random_seed, range(T), [0], (1, 1, N), rate).flatten(1)`.
        edge_weight: The weight of each edge, float (E,), above 0; None = all alike.

    Returns:
        The last state, (N, C).

    Raises:
        ValueError: The rule looks in directions, or a tensor doesn't fit; the line says what is allowed.
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

    `edges` are those that nodes perceive through, with the weights that `weigh` returns; `touching` are those that keep alive.
    """
    along = messages()

    def alive(cells: Tensor) -> Tensor:
        if rule.alive_threshold is None:
            return torch.ones_like(cells[..., 0], dtype=torch.bool)
        # Every node is a source of its own, so "here or in a neighbour" is one count.
        return along.count(cells[..., rule.alpha] > rule.alive_threshold, touching) > 0

    def perceive(cells: Tensor) -> Tensor:
        # Weights are computed in each step: gradients of learned kernels are then summed step by step, in the same order
        # however a rollout is cut into segments, so that what is kept in memory does not change one bit (law 8).
        weight = weigh()
        fields = iter(() if weight is None else along.weighted_sum(cells, edges, weight).unbind(1))
        return torch.cat([cells if kernel is None else next(fields) for kernel in rule.kernels()], dim=-1)

    # `Rule.forward`, line for line.
    for fire_now in fire:
        pre = alive(nodes)
        delta = rule.update(perceive(nodes)).to(nodes.dtype)
        y = torch.where(fire_now[..., None], nodes + rule.step_size * delta, nodes)
        post = alive(y)
        nodes = torch.where((pre & post)[..., None], y, rule.dead_value)
    return nodes


def _laplacian(rule: Rule, nodes: int, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
    """Returns the weight of each edge, then of each node's edge to itself, (E + N,)."""
    # Minus the centre of the kernel: what the neighbours of a cell weigh together.
    strength = next(kernel for kernel in rule.kernels() if kernel is not None)[0, 1, 1, 1].neg()
    shares = strength.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight.to(strength.dtype)
    total = shares.new_zeros(nodes).index_add(0, edge_index[1], shares)
    return strength * torch.cat([shares / total[edge_index[1]], -(total > 0).to(strength.dtype)])


def _check(rule: Rule, state: Tensor, edge_index: Tensor, fire: Tensor, edge_weight: Tensor | None) -> None:
    """Checks the arguments of `run_on_graph`."""
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
    """Imports and returns the module of the sums along edges.

    Raises:
        InputError: PyTorch Geometric is not installed.
    """
    # Late: PyTorch Geometric takes seconds to import, which only those should pay who use it.
    try:
        from nca3d.executors import graph_messages
    except ImportError as error:
        raise InputError("executor", "graph", "no torch-geometric", "pip install 'nca3d[graph]'") from error
    return graph_messages
