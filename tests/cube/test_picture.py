"""How a cube looks: activity, in even steps of lightness."""

import numpy as np
import pytest
import torch

import nca3d
from nca3d.cube.picture import dark_to_bright


def lit(state, rule, **options):
    picture = nca3d.to_rgba(state, rule, **options)
    assert picture.dtype == np.float32 and 0 <= picture.min() <= picture.max() <= 1
    return picture


def test_to_rgba_of_a_cube_shows_activity():
    rule = nca3d.GMLPRule((3, 4, 5), features=4, memory=2, external=0, weights="shared")
    state = rule.rest(2)
    assert not lit(state, rule)[..., 3].any()  # at rest: nothing to see
    state[0, :4, 1, 1, 1] = torch.tensor([2.0, -2.0, 2.0, -2.0])
    state[1, :4, 2, 2, 2] = torch.tensor([2.0, 0.0, 0.0, 0.0])
    state[:, 4:] = 100.0  # memory is no one else's business
    picture = lit(state, rule)
    assert picture.shape == (2, 3, 4, 5, 4)
    assert picture[0, 1, 1, 1, 3] == 1.0 and picture[1, 2, 2, 2, 3] == 0.5
    assert picture[0, 1, 1, 1, :3].tolist() == pytest.approx([0xFC / 255, 1.0, 0xA4 / 255])
    assert (picture[..., 3] > 0).sum() == 2
    # The states given together share a scale; one frame of a film gets it from outside.
    assert lit(state[1:], rule)[0, 2, 2, 2, 3] == 1.0
    assert np.array_equal(lit(state[1:], rule, scale=2.0), picture[1:])
    assert lit(state, rule, scale=0.5)[1, 2, 2, 2, 3] == 1.0
    state[0, 0, 0, 0, 0], state[0, 1, 0, 0, 1] = float("nan"), float("inf")
    broken = lit(state, rule)
    assert not broken[0, 0, 0, :2, 3].any() and np.array_equal(broken[1], picture[1])


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    rule = nca3d.GMLPRule((2, 2, 2), features=4, memory=2, external=0, weights="shared")
    with pytest.raises(ValueError, match=r"scale: found .*, allowed above 0, or None"):
        nca3d.to_rgba(rule.rest(), rule, scale=scale)


def test_dark_to_bright_is_even_in_lightness():
    """The lightness of CIE L*a*b* rises by the same amount with every step; near to matplotlib's own table."""
    from matplotlib import colormaps

    level = np.linspace(0, 1, 101)
    colours = dark_to_bright(level)
    assert np.abs(colours - colormaps["inferno"](level)[:, :3]).max() < 0.04
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert (np.diff(lightness) > 0).all() and np.abs(lightness - np.interp(level, [0, 1], lightness[[0, -1]])).max() < 6
