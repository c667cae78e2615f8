"""What each damage looks like, on fixed centres and directions, and what is refused."""

import heapq
import itertools

import pytest
import torch

from pools import damage, geodesic

SIZE = (9, 11, 13)
ONES = torch.ones(SIZE, dtype=torch.bool)
D, H, W = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in SIZE), indexing="ij")
CUTS = {"+x": W, "-x": -W, "+y": H, "-y": -H, "+z": D, "-z": -D}
FACES = ["+x", "-x", "+y", "-y", "+z", "-z"]


def in_order(field: torch.Tensor, mask: torch.Tensor, slack: float = 1e-5) -> bool:
    """Every destroyed cell has a lower field than every cell left."""
    return bool(field[mask].max() <= field[~mask].min() + slack)


def gen(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("severity", [0.01, 0.2, 0.5, 0.9])
def test_sphere_is_a_ball_around_its_centre(severity):
    mask = damage.sphere(SIZE, 2, severity=severity, center=(4, 5, 2.5), generator=gen())
    assert in_order((D - 4) ** 2 + (H - 5) ** 2 + (W - 2.5) ** 2, mask[0, 0])
    assert in_order((D - 4) ** 2 + (H - 5) ** 2 + (W - 2.5) ** 2, mask[1, 0])


def test_the_wound_has_its_shape_beyond_the_body_too():
    body = torch.rand(SIZE, generator=gen(5)) < 0.3
    mask = damage.sphere(SIZE, 1, severity=0.3, body=body, center=(4, 5, 6), generator=gen())[0, 0]
    distance = (D - 4) ** 2 + (H - 5) ** 2 + (W - 6) ** 2
    assert in_order(distance, mask) and int((mask & body).sum()) == round(0.3 * int(body.sum()))
    assert mask[distance < distance[mask & body].max() - 1e-3].all()


def test_centres_may_differ_by_sample():
    mask = damage.sphere(SIZE, 2, severity=0.05, center=[(0, 0, 0), (8, 10, 12)], generator=gen())
    assert mask[0, 0, 0, 0, 0] and not mask[0, 0, 8, 10, 12]
    assert mask[1, 0, 8, 10, 12] and not mask[1, 0, 0, 0, 0]


@pytest.mark.parametrize("number", range(5))
def test_box_fills_its_bounds(number):
    mask = damage.box(SIZE, 1, severity=0.15, center=(4, 5, 6), generator=gen(number))[0, 0]
    cells = mask.nonzero()
    low, high = cells.amin(0), cells.amax(0)
    # Only the outermost layer, cells equally far from the centre, may be incomplete.
    core = tuple(slice(int(a) + 1, int(b)) for a, b in zip(low, high, strict=True))
    assert mask[core].all() and mask[core].numel() > 0
    sides = (high - low + 1).double()
    assert sides.max() / sides.min() <= 3


def test_sphere_and_box_differ():
    ball = damage.sphere(SIZE, 1, severity=0.2, center=(4, 5, 6))[0, 0]
    block = damage.box(SIZE, 1, severity=0.2, center=(4, 5, 6))[0, 0]
    distance = ((D - 4) ** 2 + (H - 5) ** 2 + (W - 6) ** 2).sqrt()
    assert distance[block].max() > distance[ball].max() + 0.5


@pytest.mark.parametrize("direction", FACES)
def test_half_space_takes_the_side_it_names(direction):
    mask = damage.half_space(SIZE, 1, severity=0.5, direction=direction, generator=gen())[0, 0]
    assert in_order(-CUTS[direction], mask)


def test_half_space_by_a_vector_in_xyz():
    mask = damage.half_space(SIZE, 1, severity=0.3, direction=(2.0, 0.0, 1.0), generator=gen())[0, 0]
    assert in_order(-(2 * W + D), mask)
    named = damage.half_space(SIZE, 1, severity=0.4, direction="-y", generator=gen())
    assert torch.equal(named, damage.half_space(SIZE, 1, severity=0.4, direction=(0, -3, 0), generator=gen()))


def test_opposite_halves_cover_the_body_and_meet_in_one_layer():
    left = damage.half_space(SIZE, 1, severity=0.5, direction="-x", generator=gen())[0, 0]
    right = damage.half_space(SIZE, 1, severity=0.5, direction="+x", generator=gen())[0, 0]
    assert (left | right)[..., :6].all() and (left | right)[..., 7:].all()
    assert not (left & right)[..., :6].any() and not (left & right)[..., 7:].any()


def test_random_directions_are_even_on_the_sphere():
    mask = damage.half_space((7, 7, 7), 2000, severity=0.5, generator=gen())[:, 0].double()
    axis = torch.arange(-3.0, 4.0, dtype=torch.float64)
    lean = torch.stack(
        [(mask.sum((2, 3)) * axis).sum(1), (mask.sum((1, 3)) * axis).sum(1), (mask.sum((1, 2)) * axis).sum(1)], dim=1
    )
    lean = lean / lean.norm(dim=1, keepdim=True)
    assert lean.mean(0).abs().max() < 0.06  # 4.6 standard errors
    assert (lean.T @ lean / 2000 - torch.eye(3) / 3).abs().max() < 0.03


def test_slab_is_a_slice():
    mask = damage.slab(SIZE, 1, severity=0.3, direction="+y", center=(0, 5, 0), generator=gen())[0, 0]
    assert in_order((H - 5).abs(), mask)
    assert not mask[:, 0].any() and not mask[:, -1].any() and mask[:, 5].all()


def test_shell_is_hollow():
    mask = damage.shell(SIZE, 1, severity=0.2, center=(4, 5, 6), radius=4, generator=gen())[0, 0]
    assert in_order((((D - 4) ** 2 + (H - 5) ** 2 + (W - 6) ** 2).sqrt() - 4).abs(), mask)
    assert not mask[4, 5, 6] and mask[8, 5, 6] and mask[4, 5, 2]


def test_random_cells_do_not_cluster():
    mask = damage.random_cells((15, 15, 15), 8, severity=0.3, generator=gen())[:, 0].double()
    together = (mask[..., 1:] * mask[..., :-1]).mean()
    assert abs(float(together) - 0.09) < 0.01  # a ball would give about 0.28


def test_cube_is_a_cube_around_the_centre_of_mass():
    body = torch.zeros(SIZE, dtype=torch.bool)
    body[2:9, 1:8, 4:11] = True
    away = torch.stack([D - 5, H - 4, W - 7]).abs().amax(0)
    mask = damage.cube(SIZE, 2, severity=125 / 343, body=body, generator=gen())[:, 0]
    assert torch.equal(mask, (away <= 2).expand(2, *SIZE))
    body[8, 7, 12], body[8, 10, 12] = True, True  # two cells far out draw the middle by less than half a cell
    assert torch.equal(damage.cube(SIZE, 1, severity=125 / 345, body=body, generator=gen())[0, 0], away <= 2)


def test_cube_around_a_given_centre_reaches_beyond_the_body():
    mask = damage.cube(SIZE, 1, severity=0.1, center=(0, 10, 5.5), generator=gen())[0, 0]
    assert in_order(torch.stack([D, H - 10, W - 5.5]).abs().amax(0), mask)
    body = ONES.clone()
    body[4, 5, 6] = False
    assert damage.cube(SIZE, 1, severity=0.1, body=body, generator=gen())[0, 0, 4, 5, 6]


def animal() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A torso of 9 × 7 × 7 cells with a wart, two straight legs and an arm folded back along the belly; (body, limbs)."""
    limbs = [torch.zeros(15, 13, 30, dtype=torch.bool) for _ in range(3)]
    limbs[0][3, 3, 17:28] = True
    limbs[1][9, 3, 17:28] = True
    limbs[2][6, 8:11, 8] = True  # out of the belly, then back along it with one empty layer between
    limbs[2][6, 10, 8:15] = True
    limbs[2][6, 9, 14] = True
    body = torch.stack(limbs).any(0)
    body[2:11, 1:8, 8:17] = True
    body[1, 4, 13] = True
    return body, limbs


def test_limb_takes_one_limb_and_leaves_the_belly_beside_it():
    body, limbs = animal()
    mask = damage.limb(body.shape, 90, severity=6 / int(body.sum()), body=body, generator=gen())[:, 0] & body
    assert mask.flatten(1).sum(1).eq(6).all()
    taken = torch.stack([(mask & limb).flatten(1).sum(1) for limb in limbs])
    whole = (taken == 6).sum(1)
    assert (whole >= 5).all()  # each is lost now and then, the folded arm too: 2 cells lie between its end and the belly
    # The torso's four lower corners stick out as well, but they aren't limbs: what goes there is torso alone, never both.
    assert ((taken.sum(0) == 6) | (taken.sum(0) == 0)).all()
    assert ((taken > 0).sum(0) <= 1).all()


def test_limb_begins_at_the_very_end():
    rod = torch.zeros(3, 3, 20, dtype=torch.bool)
    rod[1, 1] = True
    ends = damage.limb((3, 3, 20), 200, severity=0.25, body=rod, generator=gen())[:, 0, 1, 1]
    left, right = torch.arange(20) < 5, torch.arange(20) >= 15
    at_left, at_right = (ends == left).all(1), (ends == right).all(1)
    assert (at_left | at_right).all() and 60 < int(at_left.sum()) < 140


def test_no_limb_begins_at_a_wart_or_in_a_loose_piece():
    body = torch.zeros(9, 9, 40, dtype=torch.bool)
    body[3:6, 3:6, 2:38] = True
    body[6, 4, 20] = True
    body[0, 0, 18:22] = True  # hangs on nothing
    mask = damage.limb(body.shape, 60, severity=1 / int(body.sum()), body=body, generator=gen())[:, 0] & body
    assert not mask[..., 6:34].any()
    most = damage.limb(body.shape, 5, severity=1 - 2 / int(body.sum()), body=body, generator=gen())[:, 0]
    left = body & ~most
    assert left.flatten(1).sum(1).eq(2).all() and left[:, 0, 0].sum() == 10  # the loose piece goes last


def test_the_skin_goes_with_the_limb_and_nothing_else_does():
    body, _ = animal()
    wide = torch.nn.functional.max_pool3d(body[None].float(), 3, 1, 1)[0] > 0
    for severity in (0.02, 0.3, 0.9):
        mask = damage.limb(body.shape, 8, severity=severity, body=body, generator=gen(2))[:, 0]
        assert not (mask & ~wide).any()
        touched = torch.nn.functional.max_pool3d((mask & body).float(), 3, 1, 1) > 0
        assert not (mask & ~touched).any()  # skin lies on a cell that goes
        spared = torch.nn.functional.max_pool3d((~mask & body).float(), 3, 1, 1) > 0
        assert mask[touched & ~spared & ~body].double().mean() > 0.9  # the skin that lies on lost cells alone goes


def shortest(body: torch.Tensor, start: tuple[int, ...]) -> torch.Tensor:
    """Ways by the textbook (Dijkstra 1959), cell by cell."""
    found = torch.full(body.shape, geodesic.UNREACHED, dtype=torch.int32)
    queue = [(0, start)] if body[start] else []
    while queue:
        way, cell = heapq.heappop(queue)
        if way >= found[cell]:
            continue
        found[cell] = way
        for step in itertools.product((-1, 0, 1), repeat=3):
            there = tuple(c + s for c, s in zip(cell, step, strict=True))
            if any(step) and all(0 <= t < n for t, n in zip(there, body.shape, strict=True)) and body[there]:
                heapq.heappush(queue, (way + 2 + sum(map(abs, step)), there))
    return found


@pytest.mark.parametrize("size, share", [((7, 6, 8), 0.15), ((7, 6, 8), 0.4), ((1, 9, 9), 0.5), ((1, 1, 7), 0.8)])
def test_ways_are_the_shortest(size, share):
    bodies = torch.rand(3, *size, generator=gen(4)) < share
    start = torch.randint(bodies[0].numel(), (3,), generator=gen(5))
    found = geodesic.distances(bodies, start)
    for body, first, ways in zip(bodies, start.tolist(), found, strict=True):
        assert torch.equal(ways, shortest(body, tuple(int(i) for i in torch.unravel_index(torch.tensor(first), size))))


@pytest.mark.parametrize("name", ["sphere", "box", "slab", "shell"])
def test_free_centres_lie_in_the_body(name):
    body = torch.zeros(15, 15, 15, dtype=torch.bool)
    body[1:4, 1:4, 10:14] = True
    mask = damage.DAMAGES[name]((15, 15, 15), 20, severity=1 / 36, body=body, generator=gen())
    assert (mask[:, 0] & body).flatten(1).sum(1).eq(1).all()
    if name in ("sphere", "box"):
        # One cell wounded by a ball whose centre is that very cell: nothing far away is touched.
        assert not mask[:, 0, 6:].any() and not mask[..., :7].any()


def test_centres_are_even_over_the_body():
    body = torch.zeros(1, 1, 8, dtype=torch.bool)
    body[0, 0, [0, 3, 4, 7]] = True
    hits = damage.sphere((1, 1, 8), 4000, severity=0.25, body=body, generator=gen())[:, 0, 0, 0].double().mean(0)
    assert (hits[[0, 3, 4, 7]] - 0.25).abs().max() < 0.03


def test_ties_are_broken_evenly():
    hits = damage.half_space((3, 3, 3), 3000, severity=1 / 27, direction="+x", generator=gen()).double().mean(0)[0]
    assert (hits[..., 2] - 1 / 9).abs().max() < 0.03


@pytest.mark.parametrize("draw_severity", [0.4, (0.4, 0.4)])
def test_draw_takes_one_severity(draw_severity):
    mask = damage.draw("box", SIZE, 3, severity=draw_severity, generator=gen())
    assert mask.flatten(1).sum(1).tolist() == [round(0.4 * ONES.numel())] * 3


def test_draw_mixes_names_and_severities(registries):
    one = torch.zeros(5, 5, 5, dtype=torch.bool)
    seen: list[int] = []

    @damage.register("nothing")
    def nothing(size, n, *, severity, body=None, generator=None):
        seen.append(n)
        return torch.zeros(n, 1, *size, dtype=torch.bool)

    mask = damage.draw(["sphere", "nothing"], (5, 5, 5), 400, severity=(0.2, 0.6), body=~one, generator=gen())
    share = mask.flatten(1).double().mean(1)
    assert 150 < sum(seen) < 250 and int((share == 0).sum()) == sum(seen)
    drawn = share[share > 0]
    assert drawn.min() < 0.25 and drawn.max() > 0.55 and abs(float(drawn.mean()) - 0.4) < 0.03


def test_mixture_is_draw_settled():
    bodies = torch.rand(4, *SIZE, generator=gen(3)) < 0.5
    hurt = damage.mixture(["sphere", "slab"], severity=(0.1, 0.5))
    drawn = damage.draw(["sphere", "slab"], SIZE, 4, severity=(0.1, 0.5), body=bodies, generator=gen(7))
    assert torch.equal(hurt(bodies, gen(7)), drawn)


def test_gradients_pass_outside_the_mask_alone():
    state = torch.randn(2, 3, *SIZE, generator=gen()).requires_grad_()
    mask = damage.sphere(SIZE, 2, severity=0.3, generator=gen())
    damage.apply(state, mask).sum().backward()
    assert state.grad is not None and torch.equal(state.grad, (~mask).expand_as(state).float())


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: damage.draw(["spere"], SIZE, 1), ["'spere'", "half_space", "did you mean 'sphere'"]),
        (lambda: damage.mixture([]), ["names"]),
        (lambda: damage.mixture("sphere", severity=(0.6, 0.2)), ["severity"]),
        (lambda: damage.sphere(SIZE, 1, severity=1.5), ["severity", "1.5", "0..1"]),
        (lambda: damage.sphere(SIZE, 1, severity=float("nan")), ["severity", "nan"]),
        (lambda: damage.sphere(SIZE, 3, severity=[0.1, 0.2]), ["severity", "(3,)"]),
        (lambda: damage.sphere(SIZE, 0, severity=0.5), ["n:", "0"]),
        (lambda: damage.sphere((3, 3), 1, severity=0.5), ["size", "(3, 3)"]),
        (lambda: damage.sphere((3, 0, 3), 1, severity=0.5), ["size"]),
        (lambda: damage.sphere(SIZE, 1, severity=0.5, body=ONES.float()), ["body", "torch.float32"]),
        (lambda: damage.sphere(SIZE, 3, severity=0.5, body=ONES.expand(2, *SIZE)), ["body", "(2, 9, 11, 13)"]),
        (lambda: damage.sphere(SIZE, 1, severity=0.5, center=(1, 2)), ["center"]),
        (lambda: damage.cube(SIZE, 1, severity=0.5, center=(1, 2)), ["center"]),
        (lambda: damage.half_space(SIZE, 1, severity=0.5, direction="up"), ["direction", "'up'", "+x"]),
        (lambda: damage.half_space(SIZE, 1, severity=0.5, direction=(0, 0, 0)), ["direction"]),
        (lambda: damage.carve(torch.full((1, 3, 3, 3), torch.inf), severity=0.5), ["field"]),
        (lambda: damage.compose(), ["masks"]),
        (lambda: damage.compose(ONES[None, None], ONES[None, None, :3]), ["masks"]),
        (lambda: damage.apply(torch.zeros(2, 3, *SIZE), torch.ones(2, 3, *SIZE, dtype=torch.bool)), ["mask"]),
        (lambda: damage.apply(torch.zeros(1, 3, 8, 8, 8), torch.ones(1, 1, 8, 1, 8, dtype=torch.bool)), ["mask"]),
        (lambda: damage.register("sphere")(damage.box), ["'sphere'", "not taken"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message and "found" in message and "allowed" in message
    assert all(word in message for word in words), message
    assert damage.DAMAGES["sphere"] is damage.sphere


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", damage.DAMAGES)
def test_a_gpu_gives_masks_of_the_same_severity(name):
    body = torch.rand(4, *SIZE, generator=gen(1)) < 0.5
    here = damage.DAMAGES[name](SIZE, 4, severity=0.3, body=body, generator=gen())
    there = damage.DAMAGES[name](SIZE, 4, severity=0.3, body=body.cuda(), generator=gen())
    assert there.is_cuda
    assert torch.equal((here[:, 0] & body).flatten(1).sum(1), (there[:, 0].cpu() & body).flatten(1).sum(1))
