"""The whole thinking of a cube as one ONNX graph: told a question, so many steps, what the back face says.

Three parts are traced: how a question becomes what is held at the front face, one step, how the answer is read. Here they
become one graph, with the step as the body of a `Scan` over the fire masks: written once however many steps there are, so
that the graph stays small and takes any number of steps. The weights stay where they are: it points into a safetensors file.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.cube.cell import GMLPRule
from nca3d.cube.export.record import WEIGHTS
from nca3d.rules.inputs import Inputs

# The first with a GELU of its own.
OPSET = 20
# Numbers of a constant that is computed ahead, at most.
FOLDED = 64


class _Ask(nn.Module):
    """question (B, E) -> what is held at the front face (B, F, H, W), a cube at rest (B, C, D, H, W)."""

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor]:
        face = self.rule.ask(question).face
        assert face is not None
        return face, face.new_zeros(face.shape[0], self.rule.channels, *self.rule.size)


class _Step(nn.Module):
    """number () int64, state, the question's face, fire (B, 1, D, H, W) -> the next number and state."""

    periods: Tensor

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule, groups = rule, torch.arange(rule.features) * len(rule.periods) // rule.features
        periods = torch.cat([torch.tensor(rule.periods)[groups], torch.ones(rule.memory, dtype=torch.int64)])
        self.register_buffer("periods", periods)

    def forward(self, number: Tensor, state: Tensor, face: Tensor, fire: Tensor) -> tuple[Tensor, Tensor]:
        after = self.rule(state, fire, Inputs(face))  # as in step 0, in which every channel moves
        if set(self.rule.periods) != {1}:  # a step's number is a Python number to the rule, and here it is none
            moves = number.remainder(self.periods).eq(0)[:, None, None, None]
            after = torch.where(moves, after, state)
        return number + 1, after


class _Answer(nn.Module):
    """state -> surface (B, H·W)."""

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, state: Tensor) -> Tensor:
        return self.rule.answer(state)


def cube_graph(rule: GMLPRule, weights: Path, embedding: int) -> bytes:
    """The bytes of an ONNX model: question (B, E) float32, fire (steps, B, 1, D, H, W) bool -> surface (B, H·W) float32.

    Args:
        rule: in evaluation mode, on the processor.
        weights: a safetensors file of its state, written already; the model must come to lie beside it.
        embedding: E.
    """
    from onnx import TensorProto, helper

    batch = 2  # traced with one, the axis would count as constant
    question, number = torch.zeros(batch, embedding), torch.zeros((), dtype=torch.int64)
    state, fire = rule.rest(batch), torch.ones(batch, 1, *rule.size, dtype=torch.bool)
    face = torch.zeros(batch, rule.features, *rule.size[1:])
    places = _places(weights)
    asks = _traced(_Ask(rule), {"question": question}, ["face", "rest"], places)
    given = {"number": number, "state": state, "face": face, "fire": fire}
    steps = _traced(_Step(rule), given, ["next_number", "next_state"], places)
    answers = _traced(_Answer(rule), {"state": state}, ["surface"], places)
    for prefix, part in (("ask.", asks), ("step.", steps), ("answer.", answers)):
        # what the parts share keeps its name: the question's face, and weights, which are written once
        _prefix(part, prefix, {"question", "face", "surface", *(f"rule.{name}" for name in places)})

    named = {value.name: value for value in (*steps.input, *steps.output)}
    inside = [named[f"step.{name}"] for name in ("number", "state", "fire")]
    body = helper.make_graph(list(steps.node), "step", inside, list(steps.output))
    zero = helper.make_tensor("zero", TensorProto.INT64, [], [0])
    first = helper.make_node("Constant", [], ["first"], value=zero)
    scan = helper.make_node("Scan", ["first", "ask.rest", "fire"], ["last", "answer.state"], body=body, num_scan_inputs=1)
    fires = helper.make_tensor_value_info("fire", TensorProto.BOOL, ["steps", "batch", 1, *rule.size])
    kept = {tensor.name: tensor for part in (asks, steps, answers) for tensor in part.initializer}
    nodes = [*asks.node, first, scan, *answers.node]
    graph = helper.make_graph(nodes, "cube", [*asks.input, fires], list(answers.output), list(kept.values()))
    model = helper.make_model(graph, producer_name="nca3d", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())


def _places(weights: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor of a safetensors file begins and how long it is, in bytes."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
    table.pop("__metadata__", None)
    return {name: (8 + length + start, end - start) for name, entry in table.items() for start, end in [entry["data_offsets"]]}


def _traced(part: nn.Module, given: dict[str, Tensor], said: list[str], places: dict[str, tuple[int, int]]) -> Any:
    """A part as an ONNX graph whose weights are places in the file of weights."""
    import onnx_ir
    import onnxscript.optimizer

    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} if tensor.ndim else {} for name, tensor in given.items()}
    with _quiet():
        program = torch.onnx.export(
            part.eval(),
            kwargs=given,
            input_names=list(given),
            output_names=said,
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        # only what is small: a folded weight would be written a second time
        onnxscript.optimizer.optimize(program.model, input_size_limit=FOLDED, output_size_limit=FOLDED)
    for name, value in program.model.graph.initializers.items():
        place, tensor = places.get(name.removeprefix("rule.")), value.const_value
        if place is not None and tensor is not None:
            shape = onnx_ir.Shape([int(side) for side in tensor.shape.numpy()])
            value.const_value = onnx_ir.ExternalTensor(WEIGHTS, *place, tensor.dtype, shape=shape, name=name)
    return onnx_ir.serde.serialize_model(program.model).graph


def _prefix(graph: Any, prefix: str, shared: set[str]) -> None:
    """Give every name of a graph a prefix, but for the shared ones."""

    def new(name: str) -> str:
        return name if name in shared or not name else prefix + name

    for node in graph.node:
        node.name = new(node.name)
        del node.metadata_props[:]  # the exporter's own notes, with the paths of this machine's files
        for names in (node.input, node.output):
            names[:] = [new(name) for name in names]
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            value.name = new(value.name)
            del value.metadata_props[:]
    del graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's news are none to who asks for a folder."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)
