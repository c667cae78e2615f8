"""Files of tensors: the same content gives the same bytes, and any reader of the format reads them."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from nca3d.cube.teacher.tensors import header, pack, unpack

METADATA = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=9)


@given(METADATA, st.integers(0, 5))
def test_bytes_follow_from_content_in_any_order(metadata, count):
    tensors = {"b": torch.arange(float(count)), "a": torch.ones(2, 3, dtype=torch.float64)}
    data = pack(tensors, metadata)
    assert data == pack(dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    found, told = unpack(data, "file")
    assert told == metadata and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_the_library_reads_it(tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(pack({"x": torch.arange(3)}, {"set": "lattice", "model": "ä"}))
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"model": "ä", "set": "lattice"}
        assert opened.get_tensor("x").tolist() == [0, 1, 2]
    assert header(file) == {"model": "ä", "set": "lattice"}
