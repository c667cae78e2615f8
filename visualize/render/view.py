"""Where the eye stands if nobody says: at an angle from above, and before the plane of a flat body, so that it is known."""

from collections.abc import Sequence

from visualize.arguments import as_degrees, as_number


class Unsaid(float):
    """A number that stands where a caller says nothing, and can be told from the same number said."""


AZIMUTH, ELEVATION = Unsaid(-58.0), Unsaid(24.0)
STEEPEST = 89  # degrees: from straight above, nothing says where up is
# Flat lattices: one that lies is seen as a map, its x to the right; one that stands is seen from low y or high x. A little from
# the side, so that it is still a body in space.
LYING, FACING_Y, FACING_X = (-90.0, 68.0), (-76.0, 16.0), (-14.0, 16.0)


def view(
    size: Sequence[int], azimuth: float = AZIMUTH, elevation: float = ELEVATION, where: str = "volume"
) -> tuple[float, float]:
    """Azimuth and elevation in degrees, those of the caller or else what suits a lattice (D, H, W); `volume.js` does the same.

    Raises:
        ValueError: the caller's azimuth or elevation can't be used; `where` says who asks.
    """
    depth, height, width = size
    usual = (float(AZIMUTH), float(ELEVATION))
    if depth == 1 and max(height, width) > 1:
        # A row of cells along y is seen from its side, as one along x is.
        usual = LYING if width > 1 else FACING_X
    elif height == 1 < width and depth > 1:
        usual = FACING_Y
    elif width == 1 < height and depth > 1:
        usual = FACING_X
    if not isinstance(azimuth, Unsaid):
        usual = as_degrees(azimuth, where, "azimuth"), usual[1]
    if not isinstance(elevation, Unsaid):
        usual = usual[0], as_number(elevation, where, "elevation", -STEEPEST, STEEPEST, f"-{STEEPEST}..{STEEPEST} degrees")
    return usual
