"""The gMLP cell: as published, in every weight mode; signals cross the cube one layer a step; every cell learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nca3d
from nca3d.cube.executor.cells import blocks
from nca3d.cube.rows import from_rows, neighbour_table, to_rows
from nca3d.cube.weights import MODES
from nca3d.rules.inputs import Inputs

SIZE = (4, 3, 5)


def rule(mode: str = "per_cell", size=SIZE, random_seed: int = 0, **options):
    return nca3d.GMLPRule(size, weights=mode, generator=torch.Generator().manual_seed(random_seed), **options)


def shaken(mode: str = "per_cell", **options):
    """A rule none of whose weights is zero."""
    made = rule(mode, **options).double()
    with torch.no_grad():
        for weight in made.cells.own.values():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=weight.dtype)
    return made


class PublishedCell(nn.Module):
    """One cell, layer by layer from torch.nn, with the weights of cell `n` of a rule: what the batched products must equal."""

    def __init__(self, made, n: int) -> None:
        super().__init__()
        w = {name: tensor[n] if made.cells.is_per_cell(name) else tensor for name, tensor in made.cells.own.items()}
        self.positions, self.positions_bias = w["positions"], w["positions_bias"]

        def lin(name: str) -> nn.Linear:
            layer = nn.Linear(*w[name].shape, dtype=torch.float64)
            layer.weight.data, layer.bias.data = w[name].T.clone(), w[f"{name}_bias"].clone()
            return layer

        def norm(name: str) -> nn.LayerNorm:
            layer = nn.LayerNorm(len(w[f"{name}_scale"]), dtype=torch.float64)
            layer.weight.data, layer.bias.data = w[f"{name}_scale"].clone(), w[f"{name}_shift"].clone()
            return layer

        for name in ("enter", "split", "widen", "narrow", "recall", "around", "look", "weigh", "across"):
            setattr(self, name, lin(name))
        self.norm_seen, self.norm_gate, self.norm_last, self.last = norm("seen"), norm("gate"), norm("last"), lin("last")
        self.gru = nn.GRUCell(32, 16, dtype=torch.float64)
        parts = ("reset", "update", "candidate")
        self.gru.weight_ih.data = torch.cat([w[f"{part}_in"].T for part in parts])
        self.gru.weight_hh.data = torch.cat([w[f"{part}_of"].T for part in parts])
        self.gru.bias_ih.data = torch.cat([w[f"{part}_in_bias"] for part in parts])
        self.gru.bias_hh.data = torch.cat([w[f"{part}_of_bias"] for part in parts])

    def forward(self, neighbours, own, external, memory):
        """neighbours (B, 6, 32), own (B, 32), external (B, 12), memory (B, 16)."""
        seen = torch.cat([neighbours.flatten(1), own, external], dim=1)
        u, v = F.gelu(self.split(self.enter(self.norm_seen(seen)))).chunk(2, dim=1)
        seven = self.norm_gate(v)[:, None].expand(-1, 7, -1)  # seven positions that hold the same vector
        gate = (torch.einsum("ij,bjf->bif", self.positions, seven) + self.positions_bias[:, None]).mean(dim=1)
        x = u * gate
        x = x + self.narrow(F.gelu(self.widen(x)))
        share = self.weigh(F.relu(self.look(torch.cat([own, neighbours.mean(dim=1)], dim=1)))).softmax(dim=1)
        x = x + 0.1 * (share[..., None] * neighbours).sum(dim=1) + 0.05 * self.across(neighbours[:, 0])
        memory = self.gru(x, memory)
        return self.last(self.norm_last(x + self.recall(memory))) + 0.1 * self.around(seen), memory


def test_a_cell_has_the_published_number_of_weights():
    assert rule().weights_a_cell() == 29_462
    assert rule(mixing=False).weights_a_cell() == 26_128
    assert rule().multiply_adds() == 28_352, "its matrices, entry by entry"
    assert rule(mixing=False).multiply_adds() == 28_352 - 64 * 32 - 32 * 6 - 32 * 32
    assert rule(size=(11, 15, 15), mode="shared").cells.count() == 29_462
    assert rule("per_cell").cells.count() == 29_462 * 60
    assert rule("types", types=3).cells.count() == 3 * 29_462
    assert rule("types", types=3, types_by="learned").cells.count() == 3 * 29_462 + 3 * 60


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["per_cell", "shared"])
@pytest.mark.parametrize("preset", ["nca", "cube"])
def test_batched_products_are_a_loop_over_published_cells(mode, preset):
    made = shaken(mode, preset=preset, step_size=0.7)
    state, inputs = torch.randn(3, 48, *SIZE).double(), torch.randn(3, 12, *SIZE).double()
    fire = torch.rand(3, 1, *SIZE) < 0.6
    found = to_rows(made(state, fire, inputs))
    rows, fed, firing = to_rows(state), to_rows(inputs), to_rows(fire)
    table = neighbour_table(SIZE)
    for n in range(60):
        near = [rows[m, :, :32] if m < 60 else torch.zeros(3, 32).double() for m in table[n].tolist()]
        out, memory = PublishedCell(made, n)(torch.stack(near, dim=1), rows[n, :, :32], fed[n], rows[n, :, 32:])
        change = out if preset == "nca" else out - rows[n, :, :32]
        moved = torch.cat([rows[n, :, :32] + 0.7 * change, memory], dim=1)
        torch.testing.assert_close(found[n], torch.where(firing[n], moved, rows[n]), rtol=1e-10, atol=1e-12)


def test_neighbours_come_in_the_published_order():
    """d−, d+, h−, h+, w−, w+; zeros outside."""
    rows = to_rows(torch.arange(60.0).view(1, 1, *SIZE))
    assert torch.equal(from_rows(rows, SIZE).flatten(), torch.arange(60.0))
    table = neighbour_table(SIZE)
    middle = (1 * 3 + 1) * 5 + 2
    assert table[middle].tolist() == [middle - 15, middle + 15, middle - 5, middle + 5, middle - 1, middle + 1]
    assert table[0].tolist() == [60, 15, 60, 5, 60, 1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("types_by", ["layer", "learned"])
def test_gradients_are_those_of_finite_differences(mode, types_by, monkeypatch):
    """Into the state, the inputs and every kind of weight; with many small blocks."""
    monkeypatch.setattr("nca3d.cube.executor.cells.BLOCK_BYTES", 1 << 17)
    made = shaken(mode, types_by=types_by, preset="cube")
    assert len(list(blocks(made, 2))) > 3
    generator = torch.Generator().manual_seed(3)
    state, inputs = (torch.randn(2, n, *SIZE, generator=generator).double().requires_grad_() for n in (48, 12))
    weighing = torch.randn(2, 48, *SIZE, generator=generator).double()

    def weighed():
        out = nca3d.rollout(made, state, 3, inputs=inputs, random_seed=5, executor="dense")
        return (out * weighing).sum()

    weighed().backward()
    tensors = [state, inputs, *made.cells.own.values()]
    for tensor in tensors:
        direction, small = torch.randn(tensor.shape, generator=generator).double(), 1e-6
        with torch.no_grad():
            tensor += small * direction
            above = weighed()
            tensor -= 2 * small * direction
            below = weighed()
            tensor += small * direction
        numeric, ours = (above - below) / (2 * small), (tensor.grad * direction).sum()
        torch.testing.assert_close(ours, numeric, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_fresh_nca_rule_does_nothing(mode):
    """Law 1, with whatever is said to it; the cube preset is leaky and exempt by name."""
    made = rule(mode)
    state = made.tell(made.rest(2), torch.randn(2, 15))
    inputs = torch.randn(2, 12, *SIZE)
    for rate in (0.3, 1.0):
        made.fire_rate = rate
        assert torch.equal(nca3d.rollout(made, state, 7, inputs=inputs), state)
    cube = rule(mode, preset="cube")
    assert not torch.equal(nca3d.rollout(cube, state, 1), state)


@pytest.mark.slow
def test_the_signal_crosses_one_layer_a_step():
    """Straight across from step 10 on and not before; k pixels aside from step 10 + k; the far corner at 38."""
    made = shaken(size=(11, 15, 15), features=4, memory=2, external=0, widened=6)
    away = torch.tensor([[row + column for column in range(15)] for row in range(15)]).flatten()
    for steps in (9, 10, 11, 17, 37, 38):
        # By gradient: a difference of two answers would be lost in rounding on the way.
        surface = torch.zeros(1, 225, dtype=torch.float64, requires_grad=True)
        for said in ("told", "held"):
            state = made.tell(made.rest(1).double(), surface) if said == "told" else made.rest(1).double()
            inputs = made.ask(surface) if said == "held" else None
            state = nca3d.rollout(made, state, steps, inputs=inputs, memory="recompute")
            (depends,) = torch.autograd.grad(made.answer(state)[0, 0], surface)
            assert torch.equal(depends[0] != 0, 10 + away <= steps)


@pytest.mark.parametrize("mode", ["per_cell", "low_rank"])
def test_every_cell_gets_gradient_from_the_answer_alone(mode):
    made = rule(mode, size=(5, 4, 4), preset="cube")
    state = nca3d.rollout(made, made.tell(made.rest(2), torch.randn(2, 16)), 9)
    made.answer(state).square().mean().backward()
    name = "enter" if mode == "per_cell" else "right_enter"
    assert (made.cells.own[name].grad.flatten(1).abs().amax(dim=1) > 0).all()
    assert all(parameter.grad is not None for parameter in made.surface.parameters())


def test_nothing_of_one_batch_leaks_into_the_next():
    made = shaken(preset="cube")
    first, second = torch.randn(2, 48, *SIZE).double(), torch.randn(2, 48, *SIZE).double()
    alone = nca3d.rollout(made, second, 4, random_seed=1)
    nca3d.rollout(made, first, 4, random_seed=1).sum().backward()
    assert torch.equal(nca3d.rollout(made, second, 4, random_seed=1), alone)
    both = nca3d.rollout(made, torch.cat([second, first]), 4, random_seed=1)
    torch.testing.assert_close(both[:2], alone)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_steps_give_the_same_gradients(dropout):
    """Law 8, by segments of steps; the blocks of a step are always computed again, with what was dropped."""
    made = shaken(preset="cube", dropout=dropout).train()
    state = torch.randn(2, 48, *SIZE).double().requires_grad_()
    found = []
    for memory in ("keep", 2, "recompute"):
        made.zero_grad()
        out = nca3d.rollout(made, state, 6, memory=memory, random_seed=3)
        found.append((out.detach(), *torch.autograd.grad(out.square().sum(), [state, made.cells.own["widen"]])))
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        for ours, plain in zip(other[1:], found[0][1:], strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_dropout_drops_in_training_only():
    made = shaken(preset="cube", dropout=0.3)
    state = torch.randn(2, 48, *SIZE).double()
    plain = nca3d.rollout(made.eval(), state, 2)
    made.train()
    assert not torch.equal(nca3d.rollout(made, state, 2), plain)
    assert torch.equal(nca3d.rollout(made, state, 2), nca3d.rollout(made, state, 2))
    assert not torch.equal(nca3d.rollout(made, state, 2, random_seed=1), nca3d.rollout(made, state, 2))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", ["nca", "cube"])
@pytest.mark.parametrize("scales", [{}, {"periods": (1, 3)}, {"coarse": 2}, {"periods": (2, 1, 4), "coarse": 3}])
def test_blocks_of_cells_are_the_plain_step(mode, preset, scales, monkeypatch):
    """Law 5: states and gradients of a rollout, against `forward` with autograd, told and fed."""
    monkeypatch.setattr("nca3d.cube.executor.cells.BLOCK_BYTES", 1 << 17)
    made = shaken(mode, preset=preset, step_size=0.8, fire_rate=0.7, **scales)
    state = torch.randn(2, 48, *SIZE).double().requires_grad_()
    told = Inputs(torch.randn(2, 32, *SIZE[1:]).double(), torch.randn(2, 12, *SIZE).double())
    told = Inputs(*(part.requires_grad_() for part in told))
    fires = torch.rand(5, 2, 1, *SIZE) < 0.7
    tensors = [state, *told, *made.parameters()]
    ours = nca3d.rollout(made, state, 5, fire_masks=fires, inputs=told, first_step=7)
    plain = state
    for number, fire in enumerate(fires):
        plain = made(plain, fire, told, 7 + number)
    torch.testing.assert_close(ours, plain)
    found, wanted = (
        torch.autograd.grad(x.square().sum(), tensors, materialize_grads=True, allow_unused=True) for x in (ours, plain)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("types_by", ["layer", "learned"])
def test_a_gradient_may_be_asked_inside_autocast(mode, types_by):
    """Compiled code must not be handed the halves that autocast makes of products."""
    made = rule(mode, preset="cube", types_by=types_by, features=8, memory=4, external=3, widened=8)
    state, found = torch.randn(5, 12, *SIZE), []
    for inside in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            loss = nca3d.rollout(made, state, 2).float().square().sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        found.append([weight.grad.clone() for weight in made.cells.own.values()])
        made.zero_grad()
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_what_is_told_may_be_of_other_numbers_than_the_state():
    made = rule(preset="cube")
    state, external, question = torch.randn(2, 48, *SIZE), torch.randn(2, 12, *SIZE), torch.randn(2, 15)
    for one, other in ((external, external.double()), (made.ask(question), made.ask(question.double()))):
        torch.testing.assert_close(nca3d.rollout(made, state, 2, inputs=one), nca3d.rollout(made, state, 2, inputs=other))


def test_weights_may_lie_in_any_order():
    made = rule(preset="cube")
    state = torch.randn(2, 48, *SIZE)
    wanted = nca3d.rollout(made, state, 2)
    weight = made.cells.own["enter"]
    weight.data = weight.data.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(nca3d.rollout(made, state, 2), wanted)


@pytest.mark.slow
def test_types_repeat_on_any_number_of_threads():
    """Law 11."""
    made = rule("types", (4, 6, 6), preset="cube", start="carry", types=2)
    state, before, found = torch.randn(8, 48, 4, 6, 6), torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        for _ in range(4):
            found.append(torch.autograd.grad(nca3d.rollout(made, state, 2).square().sum(), list(made.cells.own.values())))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_dropout_knows_who_is_asked_and_not_beside_whom():
    """Laws 4 and 8."""
    made = shaken(preset="cube", dropout=0.5).train()
    state = torch.randn(4, 48, *SIZE).double()
    whole = nca3d.rollout(made, state, 3, random_seed=4)
    parts = [nca3d.rollout(made, state[i : i + 2], 3, random_seed=4, sample_ids=torch.arange(i, i + 2)) for i in (0, 2)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    alike = nca3d.rollout(made, state[:1].expand(2, -1, -1, -1, -1), 1, random_seed=4)
    assert not torch.equal(alike[0], alike[1])


def test_nothing_is_kept_where_no_gradient_can_be_asked(monkeypatch):
    made, saved = rule(preset="cube"), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        with torch.no_grad():
            nca3d.rollout(made, torch.randn(2, 48, *SIZE), 3, memory="keep")
        assert saved == []
        nca3d.rollout(made, torch.randn(2, 48, *SIZE), 3, memory="keep")
    assert len(saved) > 3


def test_a_fresh_nca_rule_leaves_its_seed_alone():
    """Law 1, from the state that everything begins with."""
    made = rule()
    seed = nca3d.seed_state(made, SIZE, 2)
    assert torch.equal(nca3d.rollout(made, seed, 5), seed)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8, 9, 40])
def test_few_and_many_samples_in_float32(batch):
    """Few are run in narrow vectors, many in several pieces."""
    made = shaken(preset="cube", fire_rate=0.8)
    state = torch.randn(batch, 48, *SIZE).double()
    wanted = nca3d.rollout(made, state, 3)
    into = torch.autograd.grad(wanted.square().mean(), list(made.cells.own.values()))
    made.float()
    found = nca3d.rollout(made, state.float(), 3)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)
    for one, other in zip(torch.autograd.grad(found.square().mean(), list(made.cells.own.values())), into, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("compiled", [True, False])
def test_cells_that_nothing_flows_back_to_are_left_out(mode, compiled, monkeypatch):
    """Told at one face and read at the other after fewer steps than layers: gradients are those of autograd, zeros included."""
    monkeypatch.setattr("nca3d.cube.executor.cells.BLOCK_BYTES", 1 << 17)
    made = shaken(mode, preset="cube", step_size=0.8, fire_rate=1.0)
    state = torch.randn(2, 48, *SIZE).double().requires_grad_()
    own = list(made.cells.own.values())
    fires = torch.ones(2, 2, 1, *SIZE, dtype=torch.bool)
    plain = made(made(state, fires[0]), fires[1])
    found, wanted = (
        torch.autograd.grad(made.answer(x).square().sum(), [state, *own], materialize_grads=True)
        for x in (nca3d.rollout(made, state, 2, fire_masks=fires, executor="auto" if compiled else "dense"), plain)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    if mode == "per_cell":
        front, back = 3 * 5, -3 * 5
        for gradient in found[1:]:
            assert not gradient[:front].any() and torch.isfinite(gradient).all()
        assert any(gradient[back:].any() for gradient in found[1:])


def test_channels_of_a_longer_period_wait():
    made = shaken(preset="cube", periods=(1, 2, 4))
    states = nca3d.rollout(made, torch.randn(1, 48, *SIZE).double(), 9, record_every=1).states
    moved = (states[1:] != states[:-1]).flatten(3).any(dim=-1)[:, 0]  # (T, C)
    groups = torch.arange(32) * 3 // 32
    for step in range(9):
        wanted = torch.tensor([step % period == 0 for period in (1, 2, 4)])[groups]
        assert torch.equal(moved[step, :32], wanted) and moved[step, 32:].all()


def test_one_period_and_no_coarse_lattice_are_the_plain_cube():
    plain, same = rule(preset="cube"), rule(preset="cube", periods=(1, 1, 1), coarse=0)
    state = torch.randn(1, 48, *SIZE)
    assert torch.equal(nca3d.rollout(plain, state, 5), nca3d.rollout(same, state, 5))
    silent = rule(preset="cube", coarse=2)
    silent.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.zeros_(silent.coarse.word)
    assert torch.equal(nca3d.rollout(plain, state, 5), nca3d.rollout(silent, state, 5))


def test_a_coarse_lattice_reaches_as_far_as_it_says():
    made = shaken(size=(9, 7, 8), features=4, memory=2, external=3, widened=6, coarse=3)
    assert made.reach == 5
    state = torch.randn(1, 6, 9, 7, 8).double().requires_grad_()
    after = nca3d.rollout(made, state, 1)
    far = 0
    for cell in [(0, 0, 0), (4, 3, 3), (5, 5, 5), (8, 6, 7), (2, 2, 2)]:
        (depends,) = torch.autograd.grad(after[(0, slice(None), *cell)].sum(), state, retain_graph=True)
        places = (depends[0] != 0).any(dim=0).nonzero()
        far = max(far, int((places - torch.tensor(cell)).abs().max()))
    assert far == made.reach


@pytest.mark.slow
def test_a_carrying_cube_answers_with_the_question():
    """Before it has learnt anything, what it is told arrives at the back face, unharmed, in ten steps, and stays there."""
    made = rule(size=(11, 15, 15), preset="cube", start="carry")
    question = torch.randn(4, 225)
    for steps in (12, 20):
        answer = made.answer(nca3d.rollout(made, made.rest(4), steps, inputs=made.ask(question)))
        assert F.cosine_similarity(answer, question).min() > 0.95
    assert made.answer(nca3d.rollout(made, made.rest(4), 9, inputs=made.ask(question))).abs().max() < question.abs().max()


def test_a_rule_is_built_anew_from_its_spec():
    made = rule("types", types=3, types_by="learned", preset="cube", fire_rate=0.5)
    again = nca3d.GMLPRule(**made.spec())
    again.load_state_dict(made.state_dict())
    state = torch.randn(1, 48, *SIZE)
    assert torch.equal(nca3d.rollout(again, state, 3), nca3d.rollout(made, state, 3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "own"}, "weights: found 'own', allowed per_cell"),
        ({"preset": "leaky"}, "preset: found 'leaky'"),
        ({"mode": "types", "types": 0}, "types, rank: found 0"),
        ({"types_by": "row"}, "types_by: found 'row'"),
        ({"dropout": 1.0}, "dropout: found 1.0"),
        ({"features": 1}, "features"),
        ({"fire_rate": 0.0}, "fire_rate"),
    ],
)
def test_bad_options_are_one_line(options, words):
    with pytest.raises(ValueError, match=r"found .*, allowed") as error:
        rule(**options)
    assert words in str(error.value)


def test_bad_shapes_are_one_line():
    made = rule()
    with pytest.raises(ValueError, match="inputs: found shape"):
        nca3d.rollout(made, made.rest(), 1, inputs=torch.zeros(1, 11, *SIZE))
    with pytest.raises(ValueError, match="found lattice"):
        nca3d.rollout(made, torch.zeros(1, 48, 5, 3, 4), 1)


@pytest.mark.parametrize(("name", "value"), [("features", "many"), ("features", -1), ("memory", 2.5), ("widened", True)])
def test_widths_are_whole_numbers(name, value):
    with pytest.raises(ValueError, match=rf"{name}: found {value!r}, allowed a whole number, [12] or more"):
        rule(**{name: value})
