"""The ONNX graph of a cube says what the cube says, whatever its cells share and however many are asked at once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nca3d.cube.cell import GMLPRule
from nca3d.cube.teacher.tensors import pack
from nca3d.fire import fire_mask
from nca3d.rollout import rollout

# They trace cubes as ONNX graphs.
pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE, STEPS, EMBEDDING = (3, 4, 4), 12, 6
CUBES: dict[str, dict[str, Any]] = {
    "per_cell": {"weights": "per_cell"},
    "shared, no mixing, periods, coarse": {"weights": "shared", "mixing": False, "periods": (1, 2, 3), "coarse": 2},
    "types by layer, always firing": {"weights": "types", "types": 2, "fire_rate": 1.0},
    "learned types, nothing external": {"weights": "types", "types_by": "learned", "external": 0, "mixed": False},
    "low rank, periods, nca": {"weights": "low_rank", "periods": (1, 4), "preset": "nca", "start": "published"},
}


def cube(**options: Any) -> GMLPRule:
    plain = {"features": 8, "memory": 4, "external": 2, "widened": 8, "preset": "cube", "start": "carry", "fire_rate": 0.7}
    draw = torch.Generator().manual_seed(1)
    rule = GMLPRule(SIZE, **{**plain, "embedding": EMBEDDING, "mixed": True, **options}, generator=draw)
    with torch.no_grad():
        for weight in rule.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=draw)
    return rule.eval().requires_grad_(False)


def session(rule: GMLPRule, folder: Path) -> Any:
    from nca3d.cube.export.graph import cube_graph

    (folder / "rule.safetensors").write_bytes(pack(rule.state_dict(), {}))
    (folder / "cube.onnx").write_bytes(cube_graph(rule, folder / "rule.safetensors", EMBEDDING))
    return onnxruntime.InferenceSession(str(folder / "cube.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", CUBES)
def test_onnx_runtime_equals_pytorch(name: str, tmp_path: Path) -> None:
    rule = cube(**CUBES[name])
    ran = session(rule, tmp_path)
    for batch, steps in ((1, STEPS), (2, STEPS), (5, STEPS), (3, 1)):
        asked = torch.randn(batch, EMBEDDING, generator=torch.Generator().manual_seed(batch))
        fire = fire_mask(7, range(steps), torch.arange(batch), SIZE, rule.fire_rate)
        said = ran.run(["surface"], {"question": asked.numpy(), "fire": fire.numpy()})[0]
        wanted = rule.answer(rollout(rule, rule.rest(batch), steps, fire_masks=fire, inputs=rule.ask(asked), executor="dense"))
        assert said.shape == (batch, 16)
        assert (torch.from_numpy(said) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
        if rule.start == "carry" and batch > 1 and steps == STEPS:
            assert wanted.std(dim=0).max() > 1e-3, "all questions got the same answer: nothing was compared"


def test_the_graph_is_small_whole_and_without_weights(tmp_path: Path) -> None:
    ran = session(cube(), tmp_path)
    file = tmp_path / "cube.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    graph = onnx.load(file, load_external_data=False).graph
    outside = [tensor for tensor in graph.initializer if tensor.external_data]
    assert {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"} == {
        "rule.safetensors"
    }
    # each weight a step works with is there once, and none was copied into the graph
    assert len({tensor.name for tensor in outside}) == len(outside) > 40
    assert file.stat().st_size < 40_000 < (tmp_path / "rule.safetensors").stat().st_size
    assert str(Path.cwd()).encode() not in file.read_bytes()
    assert [(value.name, value.type) for value in ran.get_inputs()] == [("question", "tensor(float)"), ("fire", "tensor(bool)")]
    assert ran.get_inputs()[1].shape == ["steps", "batch", 1, *SIZE]
    assert [value.name for value in ran.get_outputs()] == ["surface"]
