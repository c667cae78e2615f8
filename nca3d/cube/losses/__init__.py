"""What is asked of a cube, one question a file."""

from nca3d.cube.losses.dialogue import dialogue
from nca3d.cube.losses.internal import internal
from nca3d.cube.losses.reconstruction import reconstruction
from nca3d.cube.losses.surface import surface

DEFAULT_TERMS = {"surface": 0.3, "internal": 0.01, "dialogue": 1.0, "reconstruction": 0.1}

__all__ = ["DEFAULT_TERMS", "dialogue", "internal", "reconstruction", "surface"]
