"""The tools of a study, each as one line of a config: what they are, and which of them go together.

The tests of laws ask every pair that configs allow whether training stays the same; `benchmarks/tools.py` measures what each
tool saves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from nca3d.config import Config
from nca3d.errors import InputError


@dataclass(frozen=True)
class Tool:
    """One tool of a study, as lines of a config.

    Attributes:
        name: How tables call it.
        lines: The lines of a config that ask for it.
        exact: Whether training stays the same but for rounding in float32; else it has fewer bits.
        needs: Lines without which it can't be had, such as another treatment of gradients; plain training gets them too.
    """

    name: str
    lines: Mapping[str, Any]
    exact: bool = True
    needs: Mapping[str, Any] = field(default_factory=dict)


ALL = (
    Tool("bf16", {"precision": "bf16"}, exact=False),
    Tool("fp16", {"precision": "fp16"}, exact=False),
    Tool("8-bit AdamW", {"optimizer": "adamw8bit"}, exact=False),
    Tool("accumulation", {"accumulate": 2}),
    Tool("recomputation", {"memory": "recompute"}),
    Tool("segments", {"memory": 2}),
    Tool("offloading", {"offload": "host"}),
    Tool("pool on the host", {"pool_device": "host"}),
    Tool("dense", {"executor": "dense"}),
    Tool("compiled", {"executor": "compiled"}),
    Tool("event", {"executor": "event"}),
    Tool("blocks of √N cells", {"block_cells": "sqrt"}, needs={"executor": "dense"}),
    Tool("optimizer in the backward pass", {"optimizer_in_backward": True}, needs={"gradient": "none"}),
)


def of(config: Config) -> list[Tool]:
    """Returns the tools that a config can have, each alone."""
    return [tool for tool in ALL if _with(config, tool) is not None]


def pairs(config: Config) -> Iterator[tuple[Tool, Tool, Config | None]]:
    """Yields each pair of tools that set different fields, with the config that asks for both; None where it is refused."""
    for one, other in combinations(of(config), 2):
        if not one.lines.keys() & other.lines.keys():
            yield one, other, _with(config, one, other)


def plain_of(config: Config, *tools: Tool) -> Config:
    """Returns the config that these tools are compared with: without them, but with what they need."""
    needs = {name: value for tool in tools for name, value in tool.needs.items() if name == "gradient"}
    return config.replace(**needs)


def _with(config: Config, *tools: Tool) -> Config | None:
    lines: dict[str, Any] = {}
    for tool in tools:
        lines |= {**tool.needs, **lines, **tool.lines}
    try:
        return config.replace(**lines)
    except InputError:
        return None
