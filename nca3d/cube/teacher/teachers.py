"""A teacher by its name, and the one that was saved in a folder. What each needs loads when it is asked for."""

from collections.abc import Sequence
from pathlib import Path

from nca3d.cube.teacher.named import find_teacher
from nca3d.cube.teacher.teacher import CARD, FORMAT, Teacher
from nca3d.errors import InputError
from nca3d.files import parse_table, read_file


def load_teacher(name: str, *, layer: int = -1, pool: str = "mean", fit_on: Sequence[str] = (), width: int = 225) -> Teacher:
    """A teacher by its name.

    Args:
        name: "tfidf", "minilm" (if its package is installed) or a Hugging Face model folder on this machine.
        layer: of a language model; 0 = word embeddings, -1 = the last.
        pool: "mean" over the tokens of a text, or its "last" token.
        fit_on: texts that TF-IDF learns its words and components from.
        width: components of TF-IDF.

    Raises:
        InputError: no such teacher, layer or pool, a missing extra, a folder whose model can't be read.
    """
    found = find_teacher(name, layer, pool, width)
    if found.folder is None:
        from nca3d.cube.teacher.tfidf import fit_tfidf

        return fit_tfidf(fit_on, width)
    from nca3d.cube.teacher.transformer import TransformerTeacher

    return TransformerTeacher(found.folder, found.name, found.layer, found.pool)


def load_saved_teacher(folder: str | Path) -> Teacher:
    """The teacher that was saved in a folder.

    Raises:
        InputError: no teacher in it, damaged files, or another model than the one that was saved now lies at its path.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(place, "teacher", "no such folder", "a folder that a teacher was saved in")
    card = parse_table(read_file(place / CARD), place / CARD)
    for key, kind in {"format": int, "kind": str, "id": str}.items():
        if type(card.get(key)) is not kind:
            raise InputError(place / CARD, key, repr(card.get(key)), kind.__name__)
    if card["format"] != FORMAT:
        raise InputError(place / CARD, "format", card["format"], str(FORMAT))
    if card["kind"] == "tfidf":
        from nca3d.cube.teacher.tfidf import load_tfidf

        return load_tfidf(place, card)
    if card["kind"] != "transformer":
        raise InputError(place / CARD, "kind", repr(card["kind"]), "tfidf, transformer")
    for key in ("name", "pool"):
        if not isinstance(card.get(key), str):
            raise InputError(place / CARD, key, repr(card.get(key)), "a text")
    found = find_teacher(card["name"], card.get("layer", "nothing"), card["pool"])
    if found.folder is None:
        raise InputError(place / CARD, "name", repr(card["name"]), "minilm or a model folder")
    from nca3d.cube.teacher.transformer import TransformerTeacher

    teacher = TransformerTeacher(found.folder, found.name, found.layer, found.pool)
    if teacher.id != card["id"]:
        raise InputError(found.folder, "model", f"{teacher.id}, another one than was saved", card["id"])
    return teacher
