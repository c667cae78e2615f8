"""What a teacher is: it turns texts into vectors, and can be saved."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from nca3d.files import write_atomic

# The version of a card, and the file that it stands in.
FORMAT = 1
CARD = "teacher.json"


class Teacher(ABC):
    """Turns texts into vectors, each text by itself.

    Attributes:
        id: Names the content, not the place: name, digest of weights and config, layer, pool. Equal ids give equal embeddings.
        width: E, the width of the embeddings.
    """

    id: str
    width: int

    @abstractmethod
    def embed(self, texts: Sequence[str], progress: bool = False) -> Tensor:
        """Returns the embeddings of n texts, float32 (n, E), finite, on the processor.

        Which texts stand together changes the rounding only.

        Args:
            texts: The texts.
            progress: Whether to show a progress bar.
        """

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Writes what `load_saved_teacher` needs; the weights of a language model stay where they are.

        Args:
            folder: The folder, which is made if needed.
        """


def write_card(folder: str | Path, card: dict[str, Any]) -> None:
    """Writes a teacher's card; called last, since a folder without a card holds no teacher.

    Args:
        folder: The teacher's folder.
        card: What the card says besides its format.
    """
    write_atomic(Path(folder) / CARD, json.dumps({"format": FORMAT, **card}, indent=1, ensure_ascii=False).encode())
