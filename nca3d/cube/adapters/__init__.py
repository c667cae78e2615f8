"""The adapters between embeddings and surfaces, by name; `wing.py` lists those that come with nca3d.

`@ADAPTERS.register("mine")` over a subclass of `Adapter` adds one of your own.
"""

from nca3d.cube.adapters.adapter import Adapter
from nca3d.registry import Registry

# A class for each name, called with (embedding, pixels, generator).
ADAPTERS = Registry("adapter")

__all__ = ["ADAPTERS", "Adapter"]
