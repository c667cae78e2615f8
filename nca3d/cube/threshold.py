"""When a cube is not sure of an answer: below a score and a lead that were measured on held-out questions.

There are two ways to be wrong. What the cube shows for a question that has nothing to do with what it learnt is near no answer
at all: the first score is low. What it shows for a question between two answers is near both: the first score is hardly above
the second. A score alone sees the first way only, so both are measured.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError
from nca3d.files import read_file

if TYPE_CHECKING:
    from nca3d.cube.answers import Reply

# A score that is lower than those of all but this share of the right answers is a low one.
LOWEST = 0.05
# From fewer held-out questions nothing is measured: a single one of them would move the threshold.
FEWEST = 20
# The name of the record in a report.
THRESHOLD = "threshold"


@dataclass(frozen=True)
class Threshold:
    """What the first answer needs for a cube to be sure of it.

    Attributes:
        score: The least score, −1 to 1: 95 of 100 right answers to held-out questions have it.
        lead: By more than this its score must lie above the second answer's, 0 to 2: held-out answers with a smaller lead were
            more often wrong than right.
        split: The held-out split that it was measured on.
        questions: How many questions it was measured on.
        steps: How many steps the cube computed for each.
        model: The digest of the cube's weights: other weights have another threshold.
    """

    score: float
    lead: float
    split: str
    questions: int
    steps: int
    model: str

    def doubt(self, replies: "Sequence[Reply]") -> str:
        """Returns why the cube is not sure of its first answer, as a sentence without its end; "" = it is sure.

        Args:
            replies: The nearest answers to one question, the nearest first: two, or all there are.
        """
        first = replies[0].score
        if first < self.score:
            return f"the best score, {first:.3f}, is below the {self.score:.3f} that 95 of 100 right answers reach"
        lead = first - replies[1].score if len(replies) > 1 else 2.0
        if lead <= self.lead:
            return (
                f"the second answer is almost as near: its score is {lead:.3f} less, and at {self.lead:.3f} or less the first "
                f"was more often wrong than right"
            )
        return ""

    def record(self) -> dict[str, Any]:
        """Returns the threshold as JSON can hold it; `read` is the way back."""
        return asdict(self)

    @classmethod
    def read(cls, record: object) -> "Threshold | None":
        """Returns the threshold of a record; None where there is none, or none that can be used.

        Args:
            record: What was found in a file, which anybody may have written.
        """
        if not isinstance(record, Mapping):
            return None
        values: list[Any] = [record.get(field.name) for field in fields(cls)]
        score, lead, split, questions, steps, model = values
        # bool is an int, and no number here; NaN fails both comparisons.
        if not all(type(n) in (int, float) and -2 <= n <= 2 for n in (score, lead)):
            return None
        if not all(type(n) is int for n in (questions, steps)) or not all(isinstance(text, str) for text in (split, model)):
            return None
        return cls(*values)


def measure_threshold(
    rows: "Sequence[Sequence[Reply]]", right: Sequence[bool], *, split: str, steps: int, model: str
) -> Threshold | None:
    """Measures the threshold of a cube from its answers to held-out questions.

    The least score is the 5th percentile of the right answers' scores. Then each lead is tried as the limit, and the one is
    taken above which right answers outnumber wrong ones by most: the answers below it are more often wrong than right.

    Args:
        rows: The two nearest answers to each question.
        right: Whether the first of them is the right one.
        split: The split that the questions are of.
        steps: How many steps the cube computed.
        model: The digest of its weights.

    Returns:
        The threshold; None for fewer than `FEWEST` questions.
    """
    if len(rows) < FEWEST:
        return None
    known = sorted(row[0].score for row, is_right in zip(rows, right, strict=True) if is_right)
    # A cube that is never right is never sure: no cosine is above 1.
    score = known[int(LOWEST * len(known))] if known else 1.0
    leads = [
        (row[0].score - row[1].score if len(row) > 1 else 2.0, is_right)
        for row, is_right in zip(rows, right, strict=True)
        if row[0].score >= score
    ]
    return Threshold(score, _least_lead(leads), split, len(rows), steps, model)


def _least_lead(leads: Iterable[tuple[float, bool]]) -> float:
    """Returns the lead above which right answers outnumber wrong ones by most; 0 where that is all of them.

    Args:
        leads: The lead of each answer, and whether the answer is right.
    """
    # By distinct leads: equal ones lie on the same side of any limit.
    net: Counter[float] = Counter()
    for lead, is_right in leads:
        if lead > 0:  # of equals none is the first, whatever the limit
            net[lead] += 1 if is_right else -1
    ordered = sorted(net, reverse=True)
    # Of the first n leads, which are those above the lead that comes next.
    gains, limits = [0, *accumulate(net[lead] for lead in ordered)], [*ordered, 0.0]
    return limits[max(range(len(gains)), key=lambda n: (gains[n], n))]


def threshold_of_run(folder: Path, model: str, steps: int) -> Threshold | None:
    """Returns the threshold in the report of a run, or in that of one of its evaluations.

    Args:
        folder: The run folder.
        model: The digest of the cube's weights; a threshold of others is not used.
        steps: How many steps the cube computes.

    Returns:
        The first that fits; None where none was measured, as in the runs of older versions.
    """
    for file in (folder / "report.json", *sorted(folder.glob("*evaluate-*/report.json"))):
        # A report that is missing or damaged is no reason not to answer.
        try:
            report = json.loads(read_file(file))
        except (InputError, ValueError, RecursionError):
            continue
        found = Threshold.read(report.get(THRESHOLD)) if isinstance(report, dict) else None
        if found is not None and (found.model, found.steps) == (model, steps):
            return found
    return None
