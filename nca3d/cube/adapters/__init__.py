"""The adapters by name: `@ADAPTERS.register("mine")` over a subclass of `Adapter` adds one's own; `wing.py` lists ours."""

from __future__ import annotations

from nca3d.cube.adapters.adapter import Adapter
from nca3d.registry import Registry

ADAPTERS = Registry("adapter")
"""Name -> class (embedding, pixels, generator)."""

__all__ = ["ADAPTERS", "Adapter"]
