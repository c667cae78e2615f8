"""The adapters by name: `@ADAPTERS.register("mine")` over a subclass of `Adapter` adds one's own."""

from __future__ import annotations

from nca3d.registry import Registry
from nca3d.teacher.adapter import Adapter
from nca3d.teacher.attention import AttentionAdapter
from nca3d.teacher.autoencoder import AutoencoderAdapter
from nca3d.teacher.hierarchical import HierarchicalAdapter
from nca3d.teacher.linear import LinearAdapter

ADAPTERS = Registry("adapter")
"""Name -> class (embedding, pixels, generator)."""

ADAPTERS.register("linear")(LinearAdapter)
ADAPTERS.register("hierarchical")(HierarchicalAdapter)
ADAPTERS.register("autoencoder")(AutoencoderAdapter)
ADAPTERS.register("attention")(AttentionAdapter)

__all__ = ["ADAPTERS", "Adapter", "AttentionAdapter", "AutoencoderAdapter", "HierarchicalAdapter", "LinearAdapter"]
