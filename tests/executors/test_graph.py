"""The graph executor beyond the laws: its edges, lattices of a side of 1 or 2, irregular graphs, the missing extra."""

import subprocess
import sys
from math import prod

import numpy as np
import pytest
import torch
from rule_cases import body, lively

from nca3d.errors import InputError
from nca3d.executors import graph
from nca3d.fire import fire_mask
from nca3d.lattice import NEIGHBOURHOODS, PADDINGS
from nca3d.rules import ConvRule
from nca3d.rules.kernels import laplacian

CPU = torch.device("cpu")
SIZES = [(1, 1, 1), (2, 1, 3), (1, 2, 2), (4, 3, 5)]
paddings = pytest.mark.parametrize("padding", PADDINGS)
sizes = pytest.mark.parametrize("size", SIZES)


@pytest.fixture
def pyg():
    pytest.importorskip("torch_geometric")


class Faces(ConvRule):
    """A rule that sees the 6 neighbours that share a face: their sum, and the 7-point Laplacian."""

    neighbourhood = "von_neumann"

    def kernels(self):
        cross = torch.zeros(3, 3, 3, dtype=torch.float64)
        for d, h, w in NEIGHBOURHOODS["von_neumann"]:
            cross[d + 1, h + 1, w + 1] = 1.0
        curved = cross.clone()
        curved[1, 1, 1] = -6.0
        return [cross[None], curved[None]]


def moving(rule, random_seed=0, strength=0.15):
    """The rule in float64 with a last layer that does something."""
    with torch.no_grad():
        last = list(rule.parameters())[-1]
        last.copy_(strength * torch.randn(last.shape, generator=torch.Generator().manual_seed(random_seed)))
        last[rule.alpha].abs_()
    return rule.double()


def isotropic(**options):
    return moving(
        ConvRule(channels=8, hidden=(24,), perception="isotropic", generator=torch.Generator().manual_seed(1), **options)
    )


def with_gradients(out, state, rule):
    weighing = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3))
    return [out.detach(), *torch.autograd.grad((out * weighing).sum(), [state, *rule.parameters()])]


def assert_agrees(rule, state, run, steps=4):
    """`run(state, fire)` gives the states and gradients of `Rule.forward`."""
    fire = fire_mask(5, range(steps), range(len(state)), state.shape[2:], rule.fire_rate)
    state = state.double().requires_grad_()
    wanted = state
    for fire_now in fire:
        wanted = rule(wanted, fire_now)
    for a, b in zip(with_gradients(run(state, fire), state, rule), with_gradients(wanted, state, rule), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11 * max(1e-30, float(b.abs().max())))


def on_lattice(rule):
    return lambda state, fire: graph.run(rule, state.movedim(1, -1), fire[:, :, 0]).movedim(-1, 1)


# The lattice as a graph -----------------------------------------------------------------------------------------------


@sizes
def test_edge_counts(size):
    """One edge for each neighbour within the lattice, and one from each cell to itself."""
    cells = prod(size)
    shared = sum(2 * (n - 1) * cells // n for n in size)
    assert graph.lattice_graph(size, "zeros", "moore", CPU).edges.shape == (2, prod(3 * n - 2 for n in size))
    assert graph.lattice_graph(size, "zeros", "von_neumann", CPU).edges.shape == (2, cells + shared)
    for padding in ("replicate", "circular"):
        assert graph.lattice_graph(size, padding, "moore", CPU).edges.shape == (2, 27 * cells)
        assert graph.lattice_graph(size, padding, "von_neumann", CPU).edges.shape == (2, 7 * cells)


@sizes
@paddings
def test_directions_point_from_target_to_source(size, padding):
    (sources, targets), directions = graph.lattice_graph(size, padding, "moore", CPU)
    for source, target, direction in zip(sources.tolist(), targets.tolist(), directions.tolist(), strict=True):
        away = np.array(np.unravel_index(direction, (3, 3, 3))) - 1
        where = np.array(np.unravel_index(target, size)) + away
        if padding == "circular":
            where = where % size
        elif padding == "replicate":
            where = where.clip(0, np.array(size) - 1)
        assert np.ravel_multi_index(where, size) == source
    assert (targets.diff() >= 0).all()


@sizes
@paddings
@pytest.mark.parametrize("perception", ["gradient", "learned"])
def test_thin_lattices_agree(pyg, size, padding, perception):
    """Sides of 1 and 2, where a cell meets itself, or a neighbour twice, when the lattice wraps."""
    rule = moving(ConvRule(channels=6, hidden=(12,), perception=perception, padding=padding))
    assert_agrees(rule, body(rule, size=size, share=0.7), on_lattice(rule))


@paddings
def test_a_rule_of_six_neighbours_agrees(pyg, padding):
    rule = moving(Faces(channels=6, hidden=(12,), perception="isotropic", padding=padding))
    assert_agrees(rule, body(rule, size=(4, 3, 5)), on_lattice(rule))


def test_without_an_alive_mask_it_agrees(pyg):
    rule = moving(ConvRule(channels=6, hidden=(12,), alive_threshold=None))
    assert_agrees(rule, body(rule, size=(4, 3, 5), share=0.2), on_lattice(rule))


def test_a_graph_is_made_once_and_serves_gradients(pyg):
    """Even when it was first asked for in inference mode, whose tensors autograd refuses."""
    graph.lattice_graph.cache_clear()
    rule = lively("learned")
    state = body(rule, size=(3, 4, 3)).movedim(1, -1)
    fire = torch.ones(2, 2, 3, 4, 3, dtype=torch.bool)
    with torch.inference_mode():
        graph.run(rule, state, fire)
    graph.run(rule, state, fire).sum().backward()
    assert graph.lattice_graph.cache_info().misses == 1


# Irregular graphs -----------------------------------------------------------------------------------------------------

ICOSAHEDRON = [
    (0, 1, 2),
    (0, 2, 3),
    (0, 3, 4),
    (0, 4, 5),
    (0, 5, 1),
    (1, 6, 2),
    (2, 7, 3),
    (3, 8, 4),
    (4, 9, 5),
    (5, 10, 1),
    (6, 7, 2),
    (7, 8, 3),
    (8, 9, 4),
    (9, 10, 5),
    (10, 6, 1),
    (11, 7, 6),
    (11, 8, 7),
    (11, 9, 8),
    (11, 10, 9),
    (11, 6, 10),
]


def sphere(times=2):
    """Faces of an icosahedron, each cut in four, `times` over: 12, 42, 162, … vertices."""
    faces, vertices = ICOSAHEDRON, 12
    for _ in range(times):
        middles: dict[frozenset[int], int] = {}
        cut = []
        for a, b, c in faces:
            ab, bc, ca = (middles.setdefault(frozenset(side), vertices + len(middles)) for side in ((a, b), (b, c), (c, a)))
            cut += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces, vertices = cut, vertices + len(middles)
    return torch.tensor(faces), vertices


def one_cell(rule, nodes, at=0):
    state = torch.zeros(nodes, rule.channels, dtype=torch.float64)
    state[at, rule.alpha :] = 1.0
    return state


def draw(nodes, steps, rate=0.5, random_seed=0):
    return fire_mask(random_seed, range(steps), [0], (1, 1, nodes), rate).flatten(1)


def distances(edges, nodes, start=0):
    """Steps along edges from `start` to every node."""
    far = torch.full((nodes,), nodes)
    far[start] = 0
    for _ in range(nodes):
        far = far.scatter_reduce(0, edges[1], far[edges[0]] + 1, "amin")
    return far


def test_mesh_graph():
    faces, vertices = sphere()
    edges = graph.mesh_graph(faces)
    assert edges.shape == (2, 3 * len(faces)) and int(edges.max()) + 1 == vertices  # a closed surface: two faces a side
    pairs = set(map(tuple, edges.T.tolist()))
    assert pairs == {(b, a) for a, b in pairs} and len(pairs) == edges.shape[1]
    assert torch.equal(edges, graph.mesh_graph(faces.numpy().astype(np.uint16)))
    square = graph.mesh_graph([[0, 1, 2, 3]])
    assert sorted(map(tuple, square.T.tolist())) == [(0, 1), (0, 3), (1, 0), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2)]


@pytest.mark.parametrize("faces", [[[0, 1]], [0, 1, 2], [[0, 1, -1]], [[0.0, 1.0, 2.0]], [[True, True, False]]])
def test_mesh_graph_says_what_it_takes(faces):
    with pytest.raises(ValueError, match="allowed whole numbers"):
        graph.mesh_graph(faces)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_circular_lattice_as_a_graph_is_the_lattice(pyg, share):
    """With the kernel's weights on its edges `run_on_graph` is `Rule.forward`, states and gradients."""
    size = (4, 3, 5)
    rule = isotropic(padding="circular")
    (sources, targets), direction = graph.lattice_graph(size, "circular", "moore", CPU)
    others = direction != 13
    edges = torch.stack([sources, targets])[:, others]
    weight = laplacian().flatten()[direction[others]]

    def run(state, fire):
        out = graph.run_on_graph(rule, state[0].flatten(1).T, edges, fire.flatten(1), weight)
        return out.T.view(state.shape)

    assert_agrees(rule, body(rule, batch=1, size=size, share=share), run)


@pytest.mark.parametrize("random_seed", range(3))
def test_names_of_vertices_do_not_matter(pyg, random_seed):
    """A permutation of the vertices, and of the list of edges, permutes the result."""
    faces, vertices = sphere()
    g = torch.Generator().manual_seed(random_seed)
    rule = isotropic()
    edges, fire = graph.mesh_graph(faces), draw(vertices, 8, random_seed=random_seed)
    state = torch.where(torch.rand(vertices, 1, generator=g) < 0.3, torch.rand(vertices, 8, generator=g), 0.0).double()
    became = torch.randperm(vertices, generator=g)
    named = torch.empty_like(state).index_copy_(0, became, state)
    fired = torch.empty_like(fire).index_copy_(1, became, fire)
    renamed = became[edges][:, torch.randperm(edges.shape[1], generator=g)]
    out = graph.run_on_graph(rule, state, edges, fire)
    assert not torch.equal(out, state)
    torch.testing.assert_close(graph.run_on_graph(rule, named, renamed, fired)[became], out, rtol=0, atol=1e-11)


def test_it_grows_within_the_light_cone(pyg):
    """After t steps nothing lies beyond t edges from the first cell, and the rim is reached."""
    faces, vertices = sphere()
    edges, rule = graph.mesh_graph(faces), isotropic(fire_rate=1.0)
    far = distances(edges, vertices)
    assert far.max() > 5
    for steps in range(1, 6):
        grown = graph.run_on_graph(rule, one_cell(rule, vertices), edges, draw(vertices, steps, 1.0))
        assert (grown[far > steps] == 0).all()
        assert grown[far == steps].any()


def test_vacuum_and_zero_start(pyg):
    faces, vertices = sphere()
    edges, fire = graph.mesh_graph(faces), draw(vertices, 10)
    fresh = ConvRule(channels=8, hidden=(24,), perception="isotropic").double()
    seed = one_cell(fresh, vertices)
    assert torch.equal(graph.run_on_graph(fresh, seed, edges, fire), seed)
    rule = isotropic()
    for parameter in rule.parameters():
        parameter.data.add_(0.5)
    assert not graph.run_on_graph(rule, torch.zeros_like(seed), edges, fire).any()


def test_a_broken_vertex_dies_without_spreading(pyg):
    faces, vertices = sphere()
    fresh = ConvRule(channels=8, hidden=(24,), perception="isotropic").double()
    state = torch.zeros(vertices, 8, dtype=torch.float64)
    state[3, 0] = float("nan")
    assert not graph.run_on_graph(fresh, state, graph.mesh_graph(faces), draw(vertices, 1, 1.0)).any()


def test_a_vertex_without_edges_sees_itself_alone(pyg):
    """Its Laplacian is 0, as in the middle of a field that is the same everywhere."""
    rule = isotropic(fire_rate=1.0)
    state = torch.rand(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    lonely = graph.run_on_graph(rule, state[:1], torch.zeros(2, 0, dtype=torch.long), draw(1, 3, 1.0))
    ring = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    together = graph.run_on_graph(rule, state[:1].expand(5, 8), ring, draw(5, 3, 1.0))
    torch.testing.assert_close(together, lonely.expand(5, 8), rtol=0, atol=1e-11)


def test_edges_lead_from_source_to_target(pyg):
    rule = isotropic(fire_rate=1.0)
    there = torch.tensor([[0], [1]])
    for edges, reached in ((there, True), (there.flip(0), False)):
        assert bool(graph.run_on_graph(rule, one_cell(rule, 2), edges, draw(2, 1, 1.0))[1].any()) == reached


# What it refuses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("perception", ["gradient", "gradient+laplacian", "learned"])
def test_rules_that_look_in_directions_are_refused(perception):
    rule = ConvRule(channels=8, perception=perception)
    with pytest.raises(ValueError, match=f"found perception '{perception.replace('+', '.')}', allowed 'isotropic'"):
        graph.run_on_graph(rule, torch.zeros(2, 8), torch.tensor([[0, 1], [1, 0]]), draw(2, 1))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"state": torch.zeros(2, 7)}, r"state: .*\(2, 7\), allowed float \(N, 8\)"),
        ({"state": torch.zeros(2, 8, dtype=torch.long)}, "state: found torch.int64"),
        ({"edge_index": torch.tensor([[0, 2], [1, 0]])}, r"edge_index: .*each 0 \.\. 1"),
        ({"edge_index": torch.tensor([[0.0], [1.0]])}, "edge_index: found torch.float32"),
        ({"fire": torch.ones(1, 3, dtype=torch.bool)}, r"fire: .*allowed bool \(T, 2\)"),
        ({"fire": torch.ones(1, 2)}, "fire: found torch.float32"),
        ({"edge_weight": torch.tensor([1.0, 0.0])}, "edge_weight: .*each above 0"),
        ({"edge_weight": torch.ones(3)}, r"edge_weight: found shape \(3,\), allowed \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, line):
    good = {"state": torch.zeros(2, 8), "edge_index": torch.tensor([[0, 1], [1, 0]]), "fire": draw(2, 1)}
    with pytest.raises(ValueError, match=line):
        graph.run_on_graph(ConvRule(channels=8, perception="isotropic"), **{**good, **change})


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "nca3d.executors.graph_messages", raising=False)
    monkeypatch.delattr("nca3d.executors.graph_messages", raising=False)
    rule = lively("gradient")
    with pytest.raises(InputError, match=r"pip install 'nca3d\[graph\]'") as error:
        graph.run(rule, body(rule, size=(3, 3, 3)).movedim(1, -1), torch.ones(1, 2, 3, 3, 3, dtype=torch.bool))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_nothing_is_imported_before_it_is_used():
    code = "import nca3d.executors.graph, sys; sys.exit('torch_geometric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
