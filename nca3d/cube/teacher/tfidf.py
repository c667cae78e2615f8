"""The teacher without a language model: the words of a text (TF-IDF), reduced to a few components.

The method is latent semantic analysis (Deerwester et al. 1990). Words and pairs of neighbouring words count; beyond pairs, the
order of words is lost.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.teacher.teacher import CARD, Teacher, write_card
from nca3d.cube.teacher.teacher_ref import WIDEST
from nca3d.cube.teacher.tensors import check_vectors, pack, unpack
from nca3d.errors import InputError
from nca3d.files import read_file, sha256, write_atomic

# Letters, digits, _ and hyphens: north-east is one word.
WORD = re.compile(r"[\w-]+")
# The largest vocabulary: with more, rare pairs of words would only add memory.
MOST_WORDS = 50_000
TENSORS = "teacher.safetensors"
# How many texts are embedded at once.
BATCH = 1024


class TfidfTeacher(Teacher):
    """Embeds a text by its words: their weights, scaled to a vector of length 1, are projected onto components.

    Args:
        vocabulary: The V words and pairs of words that it knows.
        idf: The inverse document frequency of each, (V,): how rare it is.
        components: The directions to project onto, (V, E).
    """

    def __init__(self, vocabulary: Sequence[str], idf: Tensor, components: Tensor) -> None:
        self.vocabulary, self.idf, self.components = list(vocabulary), idf, components
        self.width = components.shape[1]
        self._places = {word: place for place, word in enumerate(self.vocabulary)}
        content = "\n".join(self.vocabulary).encode() + idf.numpy().tobytes() + components.numpy().tobytes()
        self.id = f"tfidf-{self.width}:{sha256(content)[:16]}"

    def embed(self, texts: Sequence[str], progress: bool = False) -> Tensor:
        """Returns the embeddings of n texts, float32 (n, E); a text without a known word is all zeros."""
        parts = [self._embed(texts[first : first + BATCH]) for first in range(0, len(texts), BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, self.width)

    def save(self, folder: str | Path) -> None:
        """Writes the vocabulary as JSON and the numbers as safetensors, with a digest that `load_tfidf` checks."""
        data = pack({"idf": self.idf, "components": self.components}, {})
        write_atomic(Path(folder) / TENSORS, data)
        write_card(folder, {"kind": "tfidf", "id": self.id, "sha256": sha256(data), "vocabulary": self.vocabulary})

    def _embed(self, texts: Sequence[str]) -> Tensor:
        # Sums of a few rows of `components` for each text: no table of texts × vocabulary is made.
        places: list[int] = []
        weights: list[float] = []
        offsets: list[int] = []
        idf = self.idf.tolist()
        for text in texts:
            offsets.append(len(places))
            counts = Counter(place for word in words(text) if (place := self._places.get(word)) is not None)
            own = {place: count * idf[place] for place, count in counts.items()}
            length = math.sqrt(sum(weight * weight for weight in own.values()))
            places += own
            # A text of one word and a text of many have the same length as vectors.
            weights += [weight / length for weight in own.values()]
        return F.embedding_bag(
            torch.tensor(places, dtype=torch.int64),
            self.components,
            torch.tensor(offsets),
            mode="sum",
            per_sample_weights=torch.tensor(weights, dtype=torch.float32),
        )


def words(text: str) -> list[str]:
    """Returns the words of a text, in lower case, then the pairs of neighbouring ones."""
    single = WORD.findall(text.lower())
    return [*single, *(f"{first} {second}" for first, second in pairwise(single))]


def fit_tfidf(texts: Sequence[str], width: int) -> TfidfTeacher:
    """Fits a teacher to texts.

    Args:
        texts: The texts to learn words and components from.
        width: The number of components; where texts have fewer, the rest are zero.

    Raises:
        InputError: There are no texts, or none with a word in it.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = list(texts)
    if not any(WORD.search(text) for text in texts):
        raise InputError("teacher tfidf", "fit_on", f"{len(texts)} texts without a word", "texts to learn words from")
    vectorizer = TfidfVectorizer(analyzer=words, max_features=MOST_WORDS)
    table = vectorizer.fit_transform(texts)
    count = min(width, *table.shape)
    # A fixed seed for the randomised solver; scikit-learn fixes the signs: the same texts give the same teacher.
    solver = TruncatedSVD(count, n_iter=10, random_state=0).fit(table)
    components = torch.zeros(table.shape[1], width)
    components[:, :count] = torch.from_numpy(solver.components_).float().T
    idf = torch.from_numpy(vectorizer.idf_).float()
    return TfidfTeacher(vectorizer.get_feature_names_out().tolist(), idf, components)


def load_tfidf(folder: Path, card: dict[str, Any]) -> TfidfTeacher:
    """Loads a teacher that `TfidfTeacher.save` wrote.

    Args:
        folder: Its folder.
        card: Its card, as `load_saved_teacher` read it.

    Raises:
        InputError: A file is damaged, or the files don't belong together.
    """
    data = read_file(folder / TENSORS)
    # The digest first: it tells a damaged file from one that belongs to another card.
    if sha256(data) != card["sha256"]:
        raise InputError(folder / TENSORS, "sha256", "another digest than the card's", "the file as it was saved")
    vocabulary = card["vocabulary"]
    tensors, _ = unpack(data, folder / TENSORS)
    components = check_vectors(tensors.get("components"), folder / TENSORS, "components", len(vocabulary), None)
    idf = tensors.get("idf")
    idf = check_vectors(None if idf is None else idf.reshape(-1, 1), folder / TENSORS, "idf", len(vocabulary), 1)
    # As wide as a config may ask for; more would be another program's file.
    if components.shape[1] > WIDEST:
        raise InputError(folder / TENSORS, "components", f"{components.shape[1]} wide", f"at most {WIDEST}")
    teacher = TfidfTeacher(vocabulary, idf.flatten(), components)
    if teacher.id != card["id"]:
        raise InputError(folder / CARD, "id", card["id"], f"{teacher.id}, which the files give")
    return teacher
