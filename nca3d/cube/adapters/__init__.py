"""The adapters by name: `@ADAPTERS.register("mine")` over a subclass of `Adapter` adds one's own."""

from __future__ import annotations

from nca3d.cube.adapters.adapter import Adapter
from nca3d.cube.adapters.attention import AttentionAdapter
from nca3d.cube.adapters.autoencoder import AutoencoderAdapter
from nca3d.cube.adapters.hierarchical import HierarchicalAdapter
from nca3d.cube.adapters.linear import LinearAdapter
from nca3d.registry import Registry

ADAPTERS = Registry("adapter")
"""Name -> class (embedding, pixels, generator)."""

ADAPTERS.register("linear")(LinearAdapter)
ADAPTERS.register("hierarchical")(HierarchicalAdapter)
ADAPTERS.register("autoencoder")(AutoencoderAdapter)
ADAPTERS.register("attention")(AttentionAdapter)

__all__ = ["ADAPTERS", "Adapter", "AttentionAdapter", "AutoencoderAdapter", "HierarchicalAdapter", "LinearAdapter"]
