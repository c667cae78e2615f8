"""A cube as one ONNX graph: from a question, through any number of steps, to the surface at the back face.

Three parts are traced: how a question becomes the input that is held at the front face, one step, and how the answer is read.
They are joined to one graph, with the step as the body of a `Scan` over the fire masks: the step is written once, so that the
graph stays small and runs any number of steps. It holds no weights: it points to places in a safetensors file.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nca3d.cube.cell import GMLPRule
from nca3d.cube.export.record import WEIGHTS
from nca3d.rules.inputs import Inputs

if TYPE_CHECKING:
    from onnx import GraphProto

# The version of ONNX operators: the first one with GELU as one operator.
OPSET = 20
# Only constants of at most so many numbers are computed ahead: a folded weight would be written a second time.
FOLDED = 64


class _Ask(nn.Module):
    """Maps a question (B, E) to the input at the front face, (B, F, H, W), and a cube at rest, (B, C, D, H, W)."""

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor]:
        face = self.rule.ask(question).face
        assert face is not None
        return face, face.new_zeros(face.shape[0], self.rule.channels, *self.rule.size)


class _Step(nn.Module):
    """Maps a step's number, int64 (), the state, the face and the fire mask (B, 1, D, H, W) to the next number and state."""

    periods: Tensor

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule, groups = rule, torch.arange(rule.features) * len(rule.periods) // rule.features
        periods = torch.cat([torch.tensor(rule.periods)[groups], torch.ones(rule.memory, dtype=torch.int64)])
        self.register_buffer("periods", periods)

    def forward(self, number: Tensor, state: Tensor, face: Tensor, fire: Tensor) -> tuple[Tensor, Tensor]:
        after = self.rule(state, fire, Inputs(face))  # as step 0, in which every channel moves
        # The rule takes a step's number as a Python number, which tracing would freeze; here it is a tensor, so `periods` are
        # applied here.
        if set(self.rule.periods) != {1}:
            moves = number.remainder(self.periods).eq(0)[:, None, None, None]
            after = torch.where(moves, after, state)
        return number + 1, after


class _Answer(nn.Module):
    """Maps a state (B, C, D, H, W) to the surface at its back face, (B, H·W)."""

    def __init__(self, rule: GMLPRule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, state: Tensor) -> Tensor:
        return self.rule.answer(state)


def cube_graph(rule: GMLPRule, weights: Path, embedding: int) -> bytes:
    """Returns an ONNX model as bytes: question (B, E) float32, fire (steps, B, 1, D, H, W) bool -> surface (B, H·W) float32.

    Args:
        rule: The rule, in evaluation mode, on the processor.
        weights: The safetensors file of its state_dict, written already; the model must be saved in the same folder.
        embedding: The width E of a question's embedding.
    """
    from onnx import TensorProto, helper

    batch = 2  # traced with a batch of one, the axis would be taken for a constant
    question, number = torch.zeros(batch, embedding), torch.zeros((), dtype=torch.int64)
    state, fire = rule.rest(batch), torch.ones(batch, 1, *rule.size, dtype=torch.bool)
    face = torch.zeros(batch, rule.features, *rule.size[1:])
    places = _places(weights)
    ask = _traced(_Ask(rule), {"question": question}, ["face", "rest"], places)
    inputs = {"number": number, "state": state, "face": face, "fire": fire}
    step = _traced(_Step(rule), inputs, ["next_number", "next_state"], places)
    answer = _traced(_Answer(rule), {"state": state}, ["surface"], places)
    for prefix, part in (("ask.", ask), ("step.", step), ("answer.", answer)):
        # What the parts share keeps its name: the question's face, and weights, which are written once.
        _prefix(part, prefix, {"question", "face", "surface", *(f"rule.{name}" for name in places)})

    # A Scan carries (number, state) from step to step and hands the body one fire mask a step; "face" the body reads from the
    # graph around it.
    named = {value.name: value for value in (*step.input, *step.output)}
    inside = [named[f"step.{name}"] for name in ("number", "state", "fire")]
    body = helper.make_graph(list(step.node), "step", inside, list(step.output))
    zero = helper.make_tensor("zero", TensorProto.INT64, [], [0])
    first = helper.make_node("Constant", [], ["first"], value=zero)
    scan = helper.make_node("Scan", ["first", "ask.rest", "fire"], ["last", "answer.state"], body=body, num_scan_inputs=1)
    fires = helper.make_tensor_value_info("fire", TensorProto.BOOL, ["steps", "batch", 1, *rule.size])
    # By name, so that a weight that several parts use is there once.
    initializers = {tensor.name: tensor for part in (ask, step, answer) for tensor in part.initializer}
    nodes = [*ask.node, first, scan, *answer.node]
    graph = helper.make_graph(nodes, "cube", [*ask.input, fires], list(answer.output), list(initializers.values()))
    model = helper.make_model(graph, producer_name="nca3d", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())


def _places(weights: Path) -> dict[str, tuple[int, int]]:
    """Returns for each tensor of a safetensors file where it begins and how long it is, in bytes."""
    # The format: 8 bytes with the length of a JSON table, the table, the data; offsets count from the data's beginning.
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
    table.pop("__metadata__", None)
    return {name: (8 + length + start, end - start) for name, entry in table.items() for start, end in [entry["data_offsets"]]}


def _traced(part: nn.Module, inputs: dict[str, Tensor], outputs: list[str], places: dict[str, tuple[int, int]]) -> "GraphProto":
    """Returns a part as an ONNX graph whose weights are places in the file of weights."""
    import onnx_ir
    import onnxscript.optimizer

    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} if tensor.ndim else {} for name, tensor in inputs.items()}
    with _quiet():
        program = torch.onnx.export(
            part.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        onnxscript.optimizer.optimize(program.model, input_size_limit=FOLDED, output_size_limit=FOLDED)
    for name, value in program.model.graph.initializers.items():
        place, tensor = places.get(name.removeprefix("rule.")), value.const_value
        if place is not None and tensor is not None:
            shape = onnx_ir.Shape([int(side) for side in tensor.shape.numpy()])
            value.const_value = onnx_ir.ExternalTensor(WEIGHTS, *place, tensor.dtype, shape=shape, name=name)
    graph: GraphProto = onnx_ir.serde.serialize_model(program.model).graph
    return graph


def _prefix(graph: "GraphProto", prefix: str, shared: set[str]) -> None:
    """Gives every name of a graph a prefix, except for the shared ones: parts of one graph may not use a name twice."""

    def new(name: str) -> str:
        return name if name in shared or not name else prefix + name

    for node in graph.node:
        node.name = new(node.name)
        del node.metadata_props[:]  # the exporter's notes hold paths of the machine that it ran on
        for names in (node.input, node.output):
            names[:] = [new(name) for name in names]
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            value.name = new(value.name)
            del value.metadata_props[:]
    # Shapes of intermediate values: they are optional, and those of several parts could contradict each other.
    del graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, whose warnings are about its own internals."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)
