"""What is inside of a mesh: the same cells whichever way faces look; bowls stay bowls, and wires stay whole."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import one_line

from nca3d.targets.meshes import from_mesh
from nca3d.targets.pieces import Pieces
from nca3d.targets.solid import inside
from nca3d.targets.target import Target
from nca3d.targets.voxelise import Mesh

# The corners of the unit cube, and its faces, all of them looking outwards.
CUBE = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)[
    [
        *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)),
        *((2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
    ]
]


def box(side: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    return CUBE * np.array(side, float) + np.array(at, float)


def patch(of: Callable[[np.ndarray, np.ndarray], list[np.ndarray]], along: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The triangles of a surface of two parameters, (n, 3, 3)."""
    points = np.stack(np.broadcast_arrays(*of(along[:, None], around[None])), -1)
    a, b, c, d = points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -2), np.stack([a, c, d], -2)]).reshape(-1, 3, 3)
    return faces[np.linalg.norm(np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]), axis=-1) > 1e-9]


def ball(radius: float = 1, at: tuple[float, float, float] = (0, 0, 0), high: float = np.pi, rings: int = 16) -> np.ndarray:
    """A ball, or from its south pole the part of it up to an angle."""
    faces = patch(
        lambda t, p: [np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), -np.cos(t)],
        np.linspace(0, high, rings + 1),
        np.linspace(0, 2 * np.pi, 2 * rings + 1),
    )
    return faces[:, ::-1] * radius + np.array(at)


def tube(radius: float, length: float) -> np.ndarray:
    around = np.linspace(0, 2 * np.pi, 25)
    return patch(lambda t, p: [radius * np.cos(p), radius * np.sin(p), t], np.linspace(0, length, 9), around)


def body(corners: np.ndarray, size: tuple[int, int, int] = (16, 16, 16), **options: object) -> Target:
    return from_mesh(Mesh(corners), size, "body.stl", "body", **options)  # type: ignore[arg-type]


def cells(corners: np.ndarray, size: tuple[int, int, int] = (16, 16, 16), **options: object) -> np.ndarray:
    return body(corners, size, **options).occupied.numpy()


def told(target: Target) -> str:
    return "\n".join(target.notes)


def turned(corners: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Some of the faces look the other way."""
    which = np.random.default_rng(seed).random(len(corners)) < share
    return np.where(which[:, None, None], corners[:, ::-1], corners)


def test_a_cube_fills_its_cells_and_shares_are_volumes() -> None:
    closed = np.zeros((12, 3), bool)
    expected = np.zeros((6, 4, 5))
    expected[1:5, 1:3, 1:4] = 1
    np.testing.assert_array_equal(inside(box((3, 2, 4), (1, 1, 1)), closed, (6, 4, 5), 4).share, expected)
    half = inside(box((2.5, 2, 2)), closed, (2, 2, 3), 4).share
    np.testing.assert_allclose(half[..., 2], 0.5)
    round_ = ball(8, (8, 8, 8), rings=40)
    share = inside(round_, np.zeros((len(round_), 3), bool), (16, 16, 16), 6).share
    assert share.sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.01)


BALL = ball()
FLOOR = patch(lambda t, p: [t * np.cos(p), t * np.sin(p), 0 * t], np.linspace(0, 1, 9), np.linspace(0, 2 * np.pi, 9))
VARIANTS = {
    "inside out": BALL[:, ::-1],
    "doubled": np.concatenate([BALL, BALL]),
    "double sided": np.concatenate([BALL, BALL[:, ::-1]]),
    "a tenth turned": turned(BALL, 0.1),
    "half turned": turned(BALL, 0.5),
    "one half turned": np.where((BALL.mean(1)[:, 2] > 0)[:, None, None], BALL[:, ::-1], BALL),
    "a small hole": BALL[BALL.mean(1).sum(1) < 1.69],
    "a tenth missing": BALL[np.random.default_rng(1).random(len(BALL)) > 0.1],
    "a crack": np.where((BALL.mean(1)[:, 2] > 0)[:, None, None], BALL * [0.996, 1, 1], BALL),
    "faces apart": BALL + np.random.default_rng(2).normal(0, 5e-4, BALL.shape),
    "a floor in it": np.concatenate([BALL, FLOOR]),
    "float32": BALL.astype(np.float32).astype(float),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_ball_is_solid_however_it_was_written(name: str) -> None:
    good, other = cells(BALL), body(VARIANTS[name])
    assert (other.occupied.numpy() ^ good).sum() <= 0.01 * good.sum() and "shell" not in told(other)


def test_parts_are_joined_whichever_of_them_is_inside_out() -> None:
    one, two = ball(), ball(0.8, (0.9, 0.2, 0))
    for other in (two, ball(0.4, (0.1, 0, 0)), ball(1, (2, 0, 0)), ball(1, (2.3, 0, 0))):
        size = (16, 16, 30)
        good = cells(np.concatenate([one, other]), size)
        for first, second in ((one[:, ::-1], other), (one[:, ::-1], other[:, ::-1])):
            np.testing.assert_array_equal(cells(np.concatenate([first, second]), size), good)
    crossed = body(np.concatenate([one, two[:, ::-1]]), (16, 16, 30))
    np.testing.assert_array_equal(crossed.occupied.numpy(), cells(np.concatenate([one, two]), (16, 16, 30)))
    assert "filled between parts of opposite windings" in told(crossed)


def test_the_hollow_of_a_well_made_file_stays_empty() -> None:
    hollow = np.concatenate([ball(), ball(0.6)[:, ::-1]])
    target = body(hollow)
    assert not target.occupied[8, 8, 8] and target.occupied[8, 8, 2] and "1 hollow of" in told(target)
    np.testing.assert_array_equal(cells(hollow, fill=True), cells(ball()))
    np.testing.assert_array_equal(cells(np.concatenate([ball(), ball(0.6)])), cells(ball()))
    np.testing.assert_array_equal(cells(np.concatenate([hollow, hollow[:, ::-1]])[: 2 * len(hollow)]), cells(hollow))


def test_a_gap_between_parts_is_no_hollow() -> None:
    slabs = [np.roll(box((0.2, 1 - 0.01 * i, 1 - 0.02 * i), (0.8 * (i % 2), 0, 0)), i // 2, axis=-1) for i in range(6)]
    for corners in (slabs, [slabs[0][:, ::-1], *slabs[1:]]):
        np.testing.assert_array_equal(cells(np.concatenate(corners)), cells(np.concatenate(slabs), fill=True))
    case = np.concatenate([CUBE, box((0.6, 0.6, 0.6), (0.2, 0.2, 0.2))[:, ::-1]])
    assert cells(case).sum() < cells(CUBE).sum()


def test_an_open_shell_stays_a_shell_and_says_so() -> None:
    for corners in (ball(high=np.pi / 2), np.delete(CUBE, [10, 11], 0), tube(1, 2)):
        target = body(corners)
        assert not target.occupied[8:12, 8, 8].any() and "read as a shell; fill = true closes it" in told(target)
        np.testing.assert_array_equal(target.occupied.numpy(), cells(np.concatenate([corners, corners[:, ::-1]])))
        np.testing.assert_array_equal(target.occupied.numpy(), cells(corners, thicken=False))
        filled = body(corners, fill=True)
        assert filled.occupied[8:12, 8, 8].all() and "closed" in told(filled)
    solid = body(tube(0.1, 2))
    assert "2 holes, the widest of 24 edges, 10 % of the length" in told(solid)
    hidden = np.concatenate([ball(high=np.pi / 2), box((4, 4, 1), (-2, -2, -0.2))])
    assert "shell" not in told(body(hidden)) and cells(hidden)[6, 8, 8], "another part covers its opening"


def test_the_surface_alone() -> None:
    assert int(cells(CUBE, (8, 8, 8), fill=False).sum()) == 6**3 - 4**3
    assert not cells(ball(), fill=False)[8, 8, 8]


def test_a_wire_stays_in_one_piece() -> None:
    turns = np.linspace(0, 6 * np.pi, 200)

    def wire(t: np.ndarray, p: np.ndarray) -> list[np.ndarray]:
        ring = 1 + 0.02 * np.cos(p)
        return [ring * np.cos(t), ring * np.sin(t), 0.12 * t + 0.02 * np.sin(p)]

    spring = np.concatenate([patch(wire, turns, np.linspace(0, 2 * np.pi, 7)), ball(0.3, (1, 0, 0))])
    thick, thin = body(spring), body(spring, thicken=False)
    assert Pieces(thick.occupied.numpy()).piece.max() == 0 and "cells added where it is thinner" in told(thick)
    assert thin.occupied.sum() < 0.5 * thick.occupied.sum()
    one_line(lambda: body(tube(0.02, 2), fill=True, thicken=False), "threshold")


def test_colours_come_from_the_paint_and_its_holes_are_none() -> None:
    def paint(triangles: np.ndarray, shares: np.ndarray) -> np.ndarray:
        at = np.einsum("sk,skd->sd", shares, CUBE[triangles])
        return np.concatenate([at, (at[:, :1] < 0.5) | (at[:, 2:] < 0.01)], 1)

    mesh = Mesh(CUBE, np.zeros((12, 3, 3)), paint)
    target = from_mesh(mesh, (10, 10, 10), "cube", "cube", fill=False, margin=0)
    shown = target.rgba()
    assert shown[5, 0, 2, 0] == pytest.approx(0.25, abs=0.01) and target.occupied[0].all()
    assert not target.occupied[1:, :, 5:].any() and not target.notes
    solid = from_mesh(mesh, (10, 10, 10), "cube", "cube", fill=True)
    np.testing.assert_array_equal(solid.occupied.numpy(), cells(CUBE, (10, 10, 10)))
    assert "holes of its alpha closed where they lie on a solid part, in " in told(solid)
    shell = from_mesh(mesh, (10, 10, 10), "cube", "cube")
    np.testing.assert_array_equal(
        shell.occupied.numpy(), from_mesh(mesh, (10, 10, 10), "cube", "cube", fill=False).occupied.numpy()
    )
    assert "alpha cuts out more than 25% of 1 part: read as a shell; fill = true" in told(shell)
    grey = from_mesh(replace(mesh, paint=None), (10, 10, 10), "cube", "cube").rgba()
    assert not grey[..., :3].any()
    assert "the colour map 'sunset' along height" in told(body(CUBE)) and not body(CUBE, color="#808080").notes


PRIMITIVES = {
    "ball": ball(0.9, rings=6),
    "box": box((1.4, 1.1, 0.9), (-0.6, -0.5, -0.4)),
    "slab": box((0.2, 1.6, 1.6), (-0.8, -0.8, -0.8)),
    "tube": tube(0.1, 1.5),
}


@settings(max_examples=15, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(sorted(PRIMITIVES)), st.tuples(*[st.floats(-1, 1)] * 3)), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_flips_doublings_and_inversions_change_no_cell(parts: list[tuple[str, tuple[float, float, float]]], seed: int) -> None:
    random = np.random.default_rng(seed)
    plain = [PRIMITIVES[name] + at for name, at in parts]
    other = [turned(part, random.choice([0, 0.1, 0.5, 1]), int(random.integers(1 << 30))) for part in plain]
    other += [part[random.random(len(part)) < random.choice([0, 0.5, 1])][:, ::-1] for part in other]
    shuffled = random.permutation(np.concatenate(other))
    same = [cells(corners, (12, 12, 12), fill=True) for corners in (shuffled, np.concatenate(plain))]
    np.testing.assert_array_equal(*same)


def test_points_that_lie_in_a_face_are_no_hollow() -> None:
    for sides, size, count in (((11, 22, 19.3329), (10, 9, 17), 210), ((7, 16, 9.48488368), (18, 10, 19), 208)):
        target = body((CUBE - 0.5) * sides, size)
        assert int(target.occupied.sum()) == count and "hollow" not in told(target)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(*[st.floats(2, 30).map(lambda side: round(side, 4))] * 3),
    size=st.tuples(*[st.integers(6, 20)] * 3),
    around=st.sampled_from([0, 3, 8, 25]),
    unit=st.sampled_from([1e-6, 1, 25.4]),
)
def test_a_plain_body_is_solid_without_a_word(
    sides: tuple[float, float, float], size: tuple[int, int, int], around: int, unit: float
) -> None:
    plain = (CUBE - 0.5) * sides
    if around:
        ring = np.linspace(0, 2 * np.pi, around + 1)
        edge = np.stack([sides[0] * np.cos(ring), sides[0] * np.sin(ring), 0 * ring], -1)
        one, two, up = edge[:-1], edge[1:], np.array([0, 0, sides[2]])
        fans = [np.stack([two, one, 0 * one], 1), np.stack([one + up, two + up, 0 * one + up], 1)]
        plain = np.concatenate([*fans, np.stack([one, two, two + up], 1), np.stack([one, two + up, one + up], 1)])
    plain = (plain * unit).astype(np.float32).astype(float)
    target = body(plain, size)
    found = target.occupied.numpy()
    np.testing.assert_array_equal(found, cells(plain, size, fill=True))
    assert "hollow" not in told(target) and "opposite" not in told(target)
    whole = np.ptp(plain, axis=(0, 1)) / np.ptp(plain, axis=(0, 1)).max() * max(size)
    if not around and np.abs(whole - np.rint(whole)).max() > 0.01:  # one of whole cells is set onto the cells
        for axis in range(3):
            np.testing.assert_array_equal(found, np.flip(found, axis))


def test_faces_without_area_are_left_out_and_far_ones_named() -> None:
    brick = box((10, 20, 20))
    far = np.full((1, 3, 3), (0.0, 0, 500))
    target = body(np.concatenate([brick, far, far]))
    np.testing.assert_array_equal(target.occupied.numpy(), cells(brick))
    assert "2 faces without area left out" in told(target)
    one_line(lambda: body(far), "flat")
    small = body(np.concatenate([brick, far + np.diag([0.1, 0.1, 0])]))
    assert "1 face lies far from the rest, which is only 1 × 1 × 1 cells" in told(small)
    assert "far" not in told(body(np.concatenate([ball(), ball(at=(20, 0, 0))])))


def test_more_surface_than_can_be_looked_at_is_refused() -> None:
    heap = np.random.default_rng(0).random((300_000, 3, 3))
    one_line(lambda: body(heap, (64, 64, 64)), "surface", "fewer or smaller faces")
