"""Checkpoint folders `checkpoints/step-NNNNNN/` that survive kill -9, a full disk and a flipped bit.

Tensors are saved as safetensors, scalars as JSON (no pickle), and a manifest, written last, has the sha256 of each file:
neither torch.load nor safetensors notices a flipped bit. A folder is written under another name, synced, then renamed: it is
there whole or not at all (`files`). The newest is the one with the highest step, whatever the clock says.

Start with `folder.py`; `reading.py` and `writing.py` are its two ways, `keeping.py` says which ones stay. May import `errors`,
`files`, `schema` and `versions`.
"""

from nca3d.checkpoint.folder import FORMAT, MANIFEST, SCALARS, Checkpoint
from nca3d.checkpoint.keeping import FIRST, bring_first_back, make_room, remove_after, set_first_aside, steps
from nca3d.checkpoint.reading import check_training, load
from nca3d.checkpoint.surroundings import bit_exact_warning
from nca3d.checkpoint.writing import save

__all__ = [
    "FIRST",
    "FORMAT",
    "MANIFEST",
    "SCALARS",
    "Checkpoint",
    "bit_exact_warning",
    "bring_first_back",
    "check_training",
    "load",
    "make_room",
    "remove_after",
    "save",
    "set_first_aside",
    "steps",
]
