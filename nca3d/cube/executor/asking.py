"""Asking a cube without computing what no answer depends on: each layer only while the question passes through it.

A cube that is asked begins at rest, and no influence travels faster than one layer a step. So before a question can have
reached a layer, that layer is as it would be without one: the same for all questions, computed once and kept. And what a layer
becomes when the answer is out of its reach changes nothing. Between the two lie four of eleven layers in each step of the whole
cube: 43 of 143 layers are computed, by the same compiled code, with the same answer.

Choose it (`cone_of`) to ask trained cubes on a processor; `steps.py` is what it is measured by. Weights may be kept in
bfloat16: a cell's are widened where they are used, so that half the memory is read, which is most of the time of few questions.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.native import Step, columns, fresh, library, unsupported
from nca3d.fire import fire_mask


def cone_of(rule: GMLPRule, steps: int, random_seed: int = 0, narrow: bool = False) -> "Cone | None":
    """Returns what asks this cube for so many steps; None where only a rollout of the whole cube can.

    Args:
        rule: The rule, which must not change afterwards.
        steps: How many steps the cube computes.
        random_seed: Chooses which cells fire, the same for all questions.
        narrow: Whether weights are kept in bfloat16.
    """
    # A coarse lattice hands influence on faster, and where channels move by turns no two steps are alike.
    plain = (
        rule.coarse is None and rule.cells.share is None and rule.steps_are_alike and rule.cells.mode in ("per_cell", "shared")
    )
    # In fewer steps the question does not reach the back face.
    if not plain or rule.size[0] < 2 or steps < rule.size[0] - 1:
        return None
    return None if unsupported(rule, rule.rest(1)) else Cone(rule, steps, random_seed, narrow)


class Cone:
    """Asks one cube for one number of steps; build it by `cone_of`.

    Args:
        rule: See `cone_of`.
        steps: See `cone_of`.
        random_seed: See `cone_of`.
        narrow: See `cone_of`.
    """

    @torch.no_grad()
    def __init__(self, rule: GMLPRule, steps: int, random_seed: int, narrow: bool) -> None:
        self.rule, self.steps, self.narrow = rule, steps, narrow
        _, height, width = rule.size
        self.layer = height * width
        weights = {name: weight.detach().contiguous() for name, weight in rule.cells.own.items()}
        self.weights = {name: weight.bfloat16() for name, weight in weights.items()} if narrow else weights
        code = library(weights["last"].dtype)
        assert code is not None  # `unsupported` has looked
        self.chunk = code.gmlp_chunk()
        # All questions have sample id 0: the answer to one must not depend on which others share its batch.
        fire = fire_mask(random_seed, range(steps), torch.zeros(1, dtype=torch.int64), rule.size, rule.fire_rate)
        self.fire = fire.flatten(2)  # (T, 1, cells)
        # By step, the state before it of the layers ahead of the question that will be seen in it, (cells, F + M).
        self.ahead = [x[self._ahead(number)] for number, x in enumerate(self._at_rest())]

    def layers(self, number: int) -> slice:
        """Returns which layers a step computes: those that the question can reach in it, and that can reach the answer."""
        depth = self.rule.size[0]
        # The front face sees the question itself, and the layer behind sees the front face, in the first step already.
        return slice(max(0, depth - self.steps + number), min(depth, number + 2))

    @torch.no_grad()
    def say(self, questions: Tensor) -> Tensor:
        """Returns the surfaces of the back face, (N, H·W), for questions (N, E): what `GMLPRule.ask` takes."""
        rule, batch = self.rule, len(questions)
        front = columns(rule.surface.write_question(questions).transpose(0, 1).contiguous())
        fires = None if self.fire.all() else self.fire.expand(-1, batch, -1).contiguous()
        size = rule.cells.cells * batch * rule.channels
        x, after = fresh(size, front.dtype), fresh(size, front.dtype)
        for number in range(self.steps):
            self._put_ahead(number, x, batch)
            self._step(self.layers(number), number, batch, fires, x, after, front)
            x, after = after, x
        back = torch.cat([part[-self.layer :, : rule.features].permute(2, 0, 1) for part in self._chunks(x, batch)])
        return rule.surface.read_answer(back)

    def _step(
        self, layers: slice, number: int, batch: int, fires: Tensor | None, x: Tensor, after: Tensor, front: Tensor | None
    ) -> None:
        """Computes some layers in one step, from columns x to columns after."""
        cells = slice(layers.start * self.layer, layers.stop * self.layer)
        step = Step(self.rule, False, x.new_empty(1, batch, 0), cells, fires, number, x, front, None)
        part = {name: weight[cells] if self.rule.cells.is_per_cell(name) else weight for name, weight in self.weights.items()}
        if self.narrow:
            step.set_narrow(part)
        else:
            step.set_weights(part)
        step.c.after = after.data_ptr()
        step.run("gmlp_forward")

    def _at_rest(self) -> Iterator[Tensor]:
        """Yields the states of a cube that is asked nothing, (cells, F + M), before each step: right ahead of a question."""
        x = self.rule.rest(1).new_zeros(self.rule.cells.cells * self.rule.channels)
        for number in range(self.steps):
            yield x.view(self.rule.cells.cells, self.rule.channels)
            after = torch.zeros_like(x)
            # What lies behind needs no more: the question will have been there.
            if number + 2 < self.rule.size[0]:
                self._step(slice(number + 2, self.rule.size[0]), number, 1, self.fire, x, after, None)
            x = after

    def _ahead(self, number: int) -> slice:
        """Returns the cells that a step sees, and that the question has not reached before it: two layers, or what is left."""
        return slice((number + 1) * self.layer, (number + 3) * self.layer)

    def _put_ahead(self, number: int, x: Tensor, batch: int) -> None:
        """Writes the layers ahead of the question into columns x; before the first step, all that it sees."""
        for part in self._chunks(x, batch):
            if number == 0:
                part[: 3 * self.layer] = 0
            else:
                part[self._ahead(number)] = self.ahead[number][..., None]

    def _chunks(self, x: Tensor, batch: int) -> Iterator[Tensor]:
        """Yields views of columns x, (cells, F + M, samples), chunk by chunk."""
        cells, channels = self.rule.cells.cells, self.rule.channels
        for start in range(0, batch, self.chunk):
            samples, at = min(self.chunk, batch - start), start * cells * channels
            yield x[at : at + cells * channels * samples].view(cells, channels, samples)
