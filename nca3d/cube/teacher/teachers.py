"""Loads a teacher by its name, or one that was saved in a folder; each imports what it needs when it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nca3d.cube.teacher.teacher import CARD, FORMAT, Teacher
from nca3d.cube.teacher.teacher_ref import find_teacher
from nca3d.errors import InputError
from nca3d.files import parse_table, read_file
from nca3d.schema.record import check_record, required


@dataclass(frozen=True)
class SavedCard:
    """What every teacher's card says."""

    format: int = required("the version of the card", low=1)
    kind: str = required("which kind of teacher it is")
    id: str = required("the name of its content")


@dataclass(frozen=True)
class TfidfCard(SavedCard):
    """The card of a teacher without a language model; its numbers lie beside it."""

    sha256: str = required("the digest of its numbers")
    vocabulary: tuple[str, ...] = required("its words and pairs of words", length=(1, 1_000_000))


@dataclass(frozen=True)
class TransformerCard(SavedCard):
    """The card of a language model, which stays where it is."""

    name: str = required("minilm, or the model's folder")
    layer: int = required("the layer; -1 = the last", low=-1, high=10_000)
    pool: str = required("what stands for a text")


def load_teacher(name: str, *, layer: int = -1, pool: str = "mean", fit_on: Sequence[str] = (), width: int = 225) -> Teacher:
    """Loads a teacher by its name.

    Args:
        name: "tfidf", "minilm" (if its package is installed) or a Hugging Face model folder on this machine.
        layer: The layer of a language model; 0 = word embeddings, -1 = the last.
        pool: What stands for a text: the "mean" over its tokens, or its "last" token.
        fit_on: The texts that TF-IDF learns its words and components from.
        width: The number of components of TF-IDF.

    Raises:
        InputError: There is no such teacher, layer or pool, an extra is missing, or the folder's model can't be read.
    """
    ref = find_teacher(name, layer, pool, width)
    if ref.folder is None:
        # Here and below: scikit-learn and transformers take seconds to import, and only one is needed.
        from nca3d.cube.teacher.tfidf import fit_tfidf

        return fit_tfidf(fit_on, width)
    from nca3d.cube.teacher.transformer import TransformerTeacher

    return TransformerTeacher(ref.folder, ref.name, ref.layer, ref.pool)


def load_saved_teacher(folder: str | Path) -> Teacher:
    """Loads the teacher that was saved in a folder.

    Args:
        folder: The folder, as `Teacher.save` wrote it.

    Raises:
        InputError: It holds no teacher, a file is damaged, or another model than the saved one now lies at its path.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(place, "teacher", "no such folder", "a folder that a teacher was saved in")
    card = parse_table(read_file(place / CARD), place / CARD)
    # A card can be edited by hand: each entry is checked before it is used, the version of its format first.
    version = card.get("format")
    if type(version) is int and version != FORMAT:
        hint = "; update nca3d to read a newer one" if version > FORMAT else ""
        raise InputError(place / CARD, "format", version, f"{FORMAT}{hint}")
    shapes: dict[str, type] = {"tfidf": TfidfCard, "transformer": TransformerCard}
    if (kind := card.get("kind")) not in list(shapes):
        raise InputError(place / CARD, "kind", repr(kind), ", ".join(shapes))
    check_record(card, shapes[kind], place / CARD)
    if card["kind"] == "tfidf":
        from nca3d.cube.teacher.tfidf import load_tfidf

        return load_tfidf(place, card)
    ref = find_teacher(card["name"], card["layer"], card["pool"])
    if ref.folder is None:
        raise InputError(place / CARD, "name", repr(card["name"]), "minilm or a model folder")
    from nca3d.cube.teacher.transformer import TransformerTeacher

    teacher = TransformerTeacher(ref.folder, ref.name, ref.layer, ref.pool)
    # The model stays where it is, so it may have been replaced since: its embeddings would mean something else to the cube.
    if teacher.id != card["id"]:
        raise InputError(ref.folder, "model", f"{teacher.id}, another one than was saved", card["id"])
    return teacher
