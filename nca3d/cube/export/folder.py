"""Asks a cube by the folder that `nca3d export --surface` wrote: ONNX Runtime runs it, without its rule or training."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nca3d.cube.answers import AT_ONCE, Askable
from nca3d.cube.export.record import GOALS, GRAPH, RECORD, SAMPLES, THRESHOLD, read_record, verify
from nca3d.cube.lesson import load_teacher_and_answers
from nca3d.cube.samples import Sample, samples_of_record
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.teacher.tensors import check_vectors, unpack
from nca3d.cube.threshold import Threshold
from nca3d.errors import InputError
from nca3d.files import read_file
from nca3d.fire import fire_mask
from nca3d.lattice import as_size


class Session(Protocol):
    """The part of an ONNX Runtime session that is used here; the package is optional, so its own type can't be named."""

    def run(self, output_names: list[str], input_feed: dict[str, Any]) -> list[Any]:
        """Computes outputs by their names, as numpy arrays of any shape, from inputs by their names."""


@dataclass(frozen=True, eq=False)
class SurfaceCube(Askable):
    """A cube that can be asked, without its rule.

    Attributes:
        record: The contents of its `rule.json`.
        session: Runs the ONNX model: question (B, E), fire (steps, B, 1, D, H, W) -> surface (B, H·W).
        teacher: Turns questions into embeddings.
        answers: The A texts to choose from.
        goals: The surfaces of the answers, (A, H·W).
    """

    record: dict[str, Any]
    session: Session
    teacher: Teacher
    answers: tuple[str, ...]
    goals: Tensor

    @classmethod
    def load(cls, folder: str | Path) -> "SurfaceCube":
        """Loads the cube of such a folder, after the digest of every file was checked.

        Raises:
            InputError: The folder is missing or damaged, or there is no ONNX Runtime.
        """
        place = Path(folder)
        record = read_record(place)
        # Before anything else is read: ONNX Runtime gets no file that isn't as it was written.
        verify(place, record)
        session = _session(place / GRAPH)
        teacher, answers = load_teacher_and_answers(place)
        # Each file may be whole, and yet the teacher another than the one whose embeddings the cube has learnt to read.
        if (teacher.width, teacher.id) != (record["embedding"], record["teacher"]):
            raise InputError(place / RECORD, "teacher", f"{teacher.id}, {teacher.width} wide", record["teacher"])
        tensors, _ = unpack(read_file(place / GOALS), place / GOALS)
        goals = check_vectors(tensors.get("goals"), place / GOALS, "goals", len(answers), record["pixels"])
        return cls(record, session, teacher, tuple(answers), goals)

    def say(self, questions: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """Returns the surfaces (N, H·W) at the back face for questions (N, E); see `nca3d.cube.answers.Askable`."""
        think_steps, size = range(self.record["horizon"] if steps is None else steps), as_size(tuple(self.record["size"]))
        surfaces = []
        for ids in torch.arange(len(questions)).split(AT_ONCE):
            # All have sample id 0: the answer to a question must not depend on which others are asked in the same batch.
            fire = fire_mask(random_seed, think_steps, 0 * ids, size, self.record["fire_rate"])
            inputs = {"question": questions[ids].float().numpy(), "fire": fire.numpy()}
            surfaces.append(torch.from_numpy(self.session.run(["surface"], inputs)[0]))
        return torch.cat(surfaces)

    def about(self) -> dict[str, object]:
        """Returns the facts about the cube: see `nca3d.cube.answers.Askable`."""
        facts = {key: self.record[key] for key in ("size", "cells", "weights", "horizon", "teacher")}
        facts |= {"answers": len(self.answers), "runtime": "ONNX Runtime"}
        return {"model": self.record["id"], **facts, "threshold": self.threshold and self.threshold.record()}

    @property
    def threshold(self) -> Threshold | None:
        """Below what the cube is not sure; None in folders of older versions, and of runs in which it was not measured."""
        return Threshold.read(self.record.get(THRESHOLD))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """A few questions to try the cube with; none in folders of older versions."""
        return samples_of_record(self.record.get(SAMPLES))


def _session(graph: Path) -> Session:
    """Opens an ONNX model on the processor, with as many threads as torch has."""
    if find_spec("onnxruntime") is None:
        raise InputError(graph, "graph", "no ONNX Runtime to run it", "pip install 'nca3d[export]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone: its warnings (a constant that was not folded) mean nothing to the user
    try:
        session: Session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class of its own for each kind of failure; with any of them the file is bad
        raise InputError(graph, "graph", error, "the ONNX model as it was written") from None
    return session
