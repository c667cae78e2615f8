"""A language model of one's own: a tiny Llama with a tokenizer trained on a few sentences, in a folder as the big ones come."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SENTENCES = ["What is a lattice? A grid of cells.", "You face north, carrying the red lamp.", "Three cells and four more."]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 wide, 3 layers, 64 places; its tokenizer has no padding token."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words.train_from_iterator(SENTENCES, trainer)
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    LlamaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def changed(llama: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny Llama with other entries in its config."""

    def copy(**entries: object) -> Path:
        folder = tmp_path / "copied-llama"
        shutil.copytree(llama, folder, dirs_exist_ok=True)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **entries}))
        return folder

    return copy
