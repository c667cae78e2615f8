"""What a teacher is: texts to vectors."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from nca3d.files import write_atomic

FORMAT = 1
CARD = "teacher.json"


class Teacher(ABC):
    """Texts to vectors, each text by itself.

    `id` names the content, not the place: name, digest of weights and config, layer, pool. `width` is E.
    """

    id: str
    width: int

    @abstractmethod
    def embed(self, texts: Sequence[str], progress: bool = False) -> Tensor:
        """Texts (n) -> float32 (n, E), finite, on the processor; batching changes rounding only."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write what `load_saved_teacher` needs; the weights of a language model stay where they are."""


def write_card(folder: str | Path, card: dict[str, Any]) -> None:
    """Write a teacher's card, last: a folder without one holds no teacher."""
    write_atomic(Path(folder) / CARD, json.dumps({"format": FORMAT, **card}, indent=1, ensure_ascii=False).encode())
