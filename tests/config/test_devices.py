"""Devices that a config may not name: what is missing on them, or how to choose one of several."""

import pytest

import nca3d
from nca3d.cli.command import main
from nca3d.errors import InputError


@pytest.mark.parametrize(
    ("device", "says"),
    [("mps", "no float64"), ("MPS:0", "no float64"), ("cuda:1", "CUDA_VISIBLE_DEVICES=1"), ("cuba", "did you mean 'cuda'")],
)
def test_other_devices_are_refused_with_the_way_on(device, says, capsys, tmp_path):
    with pytest.raises(InputError, match=f"device: found '{device}', allowed one of auto, cpu, cuda; .*{says}"):
        nca3d.Config(device=device)
    assert main(["train", "--device", device, "--out", str(tmp_path / "run")]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "run").exists()
