"""Hidden states of a language model in a Hugging Face folder on this machine: Llama, BERT, GPT-2, T5's encoder, ...

Nothing is downloaded, no code of the folder runs, and no pickle is read. The model is loaded only when there is a text that the
cache lacks.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nca3d.cube.teacher.teacher import Teacher, write_card
from nca3d.cube.teacher.teacher_ref import check_weights, digest_of, read_config, resolve_layer
from nca3d.errors import InputError

# How many texts the model reads at once.
BATCH = 16
# Parts of names of weights that a folder may lack: they have no influence on hidden states.
HARMLESS = ("pooler", "position_ids", "rotary_emb.inv_freq")


class TransformerTeacher(Teacher):
    """Embeds a text by the hidden states of one layer, pooled over its tokens.

    Args:
        folder: The model folder, with config.json, model.safetensors and a tokenizer, as `find_teacher` returns it.
        name: What the user called it: "minilm" or the folder.
        layer: The layer; 0 = word embeddings, -1 = the last.
        pool: "mean" over the text's own tokens, or the "last" one.

    Raises:
        InputError: A file can't be read, or there is no such layer.
    """

    def __init__(self, folder: Path, name: str, layer: int, pool: str) -> None:
        self.folder, self.pool = folder, pool
        self.name = name if name == "minilm" else str(folder.resolve())
        check_weights(folder)
        self.width, layers = shape_of(folder)
        self.layer = resolve_layer(layer, layers, folder)
        self.id = f"{folder.resolve().name if name != 'minilm' else name}:{digest_of(folder)}:layer {self.layer}:{pool}"

    def embed(self, texts: Sequence[str], progress: bool = False) -> Tensor:
        """Returns the embeddings of n texts, float32 (n, E).

        Texts that are too long for the model are cut, with a note on stderr; a text without a token is all zeros.

        Args:
            texts: The texts.
            progress: Whether to show a progress bar.

        Raises:
            InputError: The tokenizer or the model can't be loaded, they don't fit each other, or a hidden state is not finite.
        """
        tokens = self._tokens(texts)
        vectors = torch.zeros(len(texts), self.width)
        # Texts of similar length share a batch: the model computes padding too, for nothing.
        order = sorted((place for place in range(len(texts)) if tokens[place]), key=lambda place: -len(tokens[place]))
        batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
        for batch in tqdm(batches, desc="embedding", unit="batch", disable=not progress, file=sys.stderr):
            vectors[batch] = self._pooled([tokens[place] for place in batch])
        if not torch.isfinite(vectors).all():
            raise InputError(self.folder, f"hidden states of layer {self.layer}", "numbers that are not finite", "finite ones")
        return vectors

    def save(self, folder: str | Path) -> None:
        """Writes path, layer, pool and id into a card; the model itself stays where it is."""
        card = {"kind": "transformer", "id": self.id, "name": self.name, "layer": self.layer, "pool": self.pool}
        write_card(folder, card)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each text, with the model's special ones, cut at the length that the model takes."""
        if not texts:
            return []
        tokenizer, limit = self._tokenizer, self._limit
        tokens: list[list[int]] = [list(ids) for ids in tokenizer(list(texts))["input_ids"]]
        long = [place for place, ids in enumerate(tokens) if len(ids) > limit]
        for place in long:
            tokens[place] = list(tokenizer(texts[place], truncation=True, max_length=limit)["input_ids"])
        if long:
            print(f"{self.folder}: {len(long)} of {len(texts)} texts cut at {limit} tokens", file=sys.stderr)
        # A tokenizer of another model: its numbers would be looked up beyond the table.
        largest, known = max(map(max, filter(None, tokens)), default=0), self._model.get_input_embeddings().num_embeddings
        if largest >= known:
            raise InputError(self.folder, "tokenizer", f"token {largest}", f"below {known}, the words that the model has")
        return tokens

    @torch.no_grad()
    def _pooled(self, tokens: list[list[int]]) -> Tensor:
        """Returns the embeddings (n, E) of texts given by their token numbers."""
        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        # Padding stands at the end and is masked, so that any number will do: some models have no token for it.
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in tokens])
        mask = torch.arange(longest) < lengths[:, None]
        states = _states(self._model, padded, mask.long())[self.layer].float()
        if self.pool == "last":
            return states[torch.arange(len(tokens)), lengths - 1]
        return torch.where(mask[..., None], states, 0).sum(dim=1) / lengths[:, None]

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with _quiet(), _as_input_error(self.folder, "tokenizer", "one that transformers reads: tokenizer.json"):
            return AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModel

        stored = str(read_config(self.folder).get("dtype") or read_config(self.folder).get("torch_dtype"))
        # bfloat16 where the weights have it: half the memory. float16 becomes float32, since it is slow on a processor.
        dtype = torch.bfloat16 if stored.endswith("bfloat16") else torch.float32
        with _quiet(), _as_input_error(self.folder, "weights", "those that config.json speaks of"):
            model, info = AutoModel.from_pretrained(
                str(self.folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
            )
        missing = sorted(name for name in info["missing_keys"] if not any(word in name for word in HARMLESS))
        if missing:  # transformers would draw them at random, and go on
            raise InputError(self.folder, "weights", f"none for {missing[0]} and {len(missing) - 1} more", "all of the model's")
        return _encoder(model).eval()

    @cached_property
    def _limit(self) -> int:
        config = self._model.config.get_text_config()
        places = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or sys.maxsize
        if "roberta" in str(config.model_type):  # its first two positions are reserved
            places -= 2
        return max(1, min(int(places), int(self._tokenizer.model_max_length)))


def shape_of(folder: str | Path) -> tuple[int, int]:
    """Returns the width E and the number of layers of a model, from its config alone.

    Args:
        folder: The model folder.

    Raises:
        InputError: There is no config.json, or it describes no model.
    """
    place = Path(folder)
    if not (place / "config.json").is_file():
        raise InputError(place, "config.json", "nothing", "a Hugging Face model folder, as save_pretrained writes it")
    read_config(place)
    from transformers import AutoConfig, AutoModel

    with _quiet(), _as_input_error(place / "config.json", "config", "one that transformers makes a model of"):
        config = AutoConfig.from_pretrained(str(place), local_files_only=True, trust_remote_code=False)
        # Built and run on the meta device, where no weight takes memory: configs name width and layers in many ways.
        with torch.device("meta"), torch.no_grad():
            model = _encoder(AutoModel.from_config(config, trust_remote_code=False)).eval()
            # Some models look at values, which meta tensors don't have: for those the config is read below.
            with contextlib.suppress(RuntimeError):
                states = _states(model, torch.zeros(1, 2, dtype=torch.int64), None)
                return int(states[-1].shape[-1]), len(states) - 1
    inner = config.get_text_config()
    return int(inner.hidden_size), int(inner.num_hidden_layers)


def _encoder(model: Any) -> Any:
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _states(model: Any, tokens: Tensor, mask: Tensor | None) -> Any:
    return model(input_ids=tokens, attention_mask=mask, output_hidden_states=True, return_dict=True).hidden_states


@contextlib.contextmanager
def _as_input_error(where: object, field: str, allowed: str) -> Iterator[None]:
    """Turns any error of transformers about a folder into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # transformers raises errors of all kinds
        text = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(where, field, text, allowed) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Switches off progress bars and messages of transformers; what matters is an InputError."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
