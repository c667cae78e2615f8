"""Ask a cube by the folder that `nca3d export --surface` wrote: ONNX Runtime thinks, no rule and no training is loaded."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nca3d.cube.answers import AT_ONCE, Askable
from nca3d.cube.export.record import GOALS, GRAPH, RECORD, read_record, verify
from nca3d.cube.lesson import saved_teacher
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.teacher.tensors import check_vectors, unpack
from nca3d.errors import InputError
from nca3d.files import read_file
from nca3d.fire import fire_mask
from nca3d.lattice import as_size


@dataclass(frozen=True, eq=False)
class SurfaceCube(Askable):
    """A cube that can be asked, without its rule.

    Args:
        record: what `rule.json` says of it.
        session: of ONNX Runtime: question (B, E), fire (steps, B, 1, D, H, W) -> surface (B, H·W).
        teacher: reads questions.
        answers: A texts to choose from.
        goals: (A, H·W), their surfaces.
    """

    record: dict[str, Any]
    session: Any
    teacher: Teacher
    answers: tuple[str, ...]
    goals: Tensor

    @classmethod
    def load(cls, folder: str | Path) -> "SurfaceCube":
        """The cube of such a folder, once every file has proved to be what was written.

        Raises:
            InputError: no such folder, a damaged one, or no ONNX Runtime.
        """
        place = Path(folder)
        record = read_record(place)
        verify(place, record)
        session = _session(place / GRAPH)
        teacher, answers = saved_teacher(place)
        if (teacher.width, teacher.id) != (record["embedding"], record["teacher"]):
            raise InputError(place / RECORD, "teacher", f"{teacher.id}, {teacher.width} wide", record["teacher"])
        tensors, _ = unpack(read_file(place / GOALS), place / GOALS)
        goals = check_vectors(tensors.get("goals"), place / GOALS, "goals", len(answers), record["pixels"])
        return cls(record, session, teacher, tuple(answers), goals)

    def say(self, asked: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """See `nca3d.cube.answers.Askable`."""
        thinking, size = range(self.record["horizon"] if steps is None else steps), as_size(tuple(self.record["size"]))
        said = []
        for ids in torch.arange(len(asked)).split(AT_ONCE):
            fire = fire_mask(random_seed, thinking, 0 * ids, size, self.record["fire_rate"])
            given = {"question": asked[ids].float().numpy(), "fire": fire.numpy()}
            said.append(torch.from_numpy(self.session.run(["surface"], given)[0]))
        return torch.cat(said)

    def about(self) -> dict[str, object]:
        """See `nca3d.cube.answers.Askable`."""
        told = {key: self.record[key] for key in ("size", "cells", "weights", "horizon", "teacher")}
        return {"model": self.record["id"], **told, "answers": len(self.answers), "runtime": "ONNX Runtime"}


def _session(graph: Path) -> Any:
    if find_spec("onnxruntime") is None:
        raise InputError(graph, "graph", "no ONNX Runtime to run it", "pip install 'nca3d[export]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: that a constant was not folded is no news to who asks
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a class of its own for each kind of trouble; whatever it is, the file is no good
        raise InputError(graph, "graph", error, "the ONNX model as it was written") from None
