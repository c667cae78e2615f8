"""The adapters by name: `@ADAPTERS.register("mine")` over a subclass of `Adapter` adds one's own; `wing.py` lists ours."""

from nca3d.cube.adapters.adapter import Adapter
from nca3d.registry import Registry

# Name -> class (embedding, pixels, generator).
ADAPTERS = Registry("adapter")

__all__ = ["ADAPTERS", "Adapter"]
