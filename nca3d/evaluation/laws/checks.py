"""The laws of a cell, checked on any rule: `check_laws(rule)`, for `ConvRule` and for a module of one's own alike.

    for verdict in check_laws(MyRule(), channels=16):
        print(verdict.law, verdict.status, verdict.detail)

A law that holds has held in a number of random trials, which is no proof; a broken one comes with what broke it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nca3d.errors import InputError
from nca3d.evaluation.laws.subject import Fault, Subject
from nca3d.lattice import Size, as_size, centre
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule

Status = Literal["holds", "broken", "not asked"]
# Rounding allowed where the same sum may be taken in another order, as a fraction of the largest value. A few steps in
# float32 stay ten times below it; a fault in an index or a sign is far above.
TOLERANCE = 1e-5

# The lattice of the trials, for a rule that fits any: three different sides, so that swapped axes show.
SIZE: Size = (9, 10, 11)


@dataclass(frozen=True)
class Verdict:
    """The outcome of checking one law.

    Attributes:
        law: The law's name in `LAWS`.
        status: "holds", "broken", or "not asked" where the law says nothing about the rule.
        detail: One line that says what was measured, or why it was not.
        worst: The largest deviation, 0 and above: relative to the largest value for batch, translation, mirror and
            executors; the largest |value| itself for "finite"; None where nothing was measured.
    """

    law: str
    status: Status
    detail: str
    worst: float | None = None


class _NotApplicable(Exception):
    """Says why a law doesn't apply to this rule, with the deviation that was measured all the same."""

    def __init__(self, reason: str, worst: float | None = None) -> None:
        super().__init__(reason)
        self.worst = worst


# Whether the law holds, the line for `Verdict.detail`, and the largest deviation.
Result = tuple[bool, str, float]
# Takes the rule and the number of trials.
Law = Callable[[Subject, int], Result]


def check_laws(
    rule: nn.Module, *, size: Size | None = None, random_seed: int = 0, trials: int = 8, channels: int | None = None
) -> list[Verdict]:
    """Checks every law of a cell on a rule, with random states, first cells and fire masks.

    Args:
        rule: A `Rule`, or any module whose forward takes (state) or (state, fire_mask) and returns the next state
            (B, C, D, H, W). It may describe itself by the attributes `channels`, `alpha`, `reach`, `fire_rate`,
            `alive_threshold` (None: empty cells may change), `isotropic` and `exempt` (a reason by the name of each law
            that doesn't apply to it). It is copied, never changed.
        size: The lattice (D, H, W) of the trials; None = the rule's own `size` if it belongs to one, else (9, 10, 11).
        random_seed: Chooses all that is random.
        trials: The number of random trials of each law, 1 or more.
        channels: C, where the module has no attribute of that name.

    Returns:
        One `Verdict` for each law, in the order of `LAWS`.

    Raises:
        InputError: If the rule is no module, its channels are unknown, its forward needs other arguments, there are no
            trials, or the rule belongs to another lattice.
        ValueError: If the size is not three whole numbers.
    """
    if trials < 1:
        raise InputError("laws", "trials", trials, "1 or more")
    bound = rule.size if isinstance(rule, Rule) else None
    if size is not None and bound is not None and as_size(size) != bound:
        raise InputError("laws", "size", size, f"{bound}, the rule's own lattice")
    subject = Subject(rule, size or bound or SIZE, channels, random_seed)
    return [_check_law(name, law, subject, trials) for name, law in LAWS.items()]


def _check_law(name: str, law: Law, subject: Subject, trials: int) -> Verdict:
    """Checks one law; what goes wrong on the way becomes its verdict, so that the other laws are checked all the same."""
    exempt = subject.attribute("exempt", {})
    if name in exempt:
        return Verdict(name, "not asked", exempt[name] + subject.note)
    try:
        holds, detail, worst = law(subject, trials)
        return Verdict(name, "holds" if holds else "broken", detail + subject.note, worst)
    except _NotApplicable as reason:
        return Verdict(name, "not asked", str(reason) + subject.note, reason.worst)
    except Fault as fault:
        return Verdict(name, "broken", str(fault) + subject.note)


def _vacuum(subject: Subject, trials: int) -> Result:
    """Checks law 2: an empty lattice stays empty."""
    if not subject.alive_mask:
        raise _NotApplicable("alive_threshold is None: without an alive mask every cell may move")
    empty = subject.empty(2)
    worst = max(_gap(subject.walk(empty, 5, subject.draw(trial))[-1], empty) for trial in range(trials))
    return worst == 0, "an empty lattice " + (f"holds {worst:.3g} after 5 steps" if worst else "stays empty"), worst


def _light_cone(subject: Subject, trials: int) -> Result:
    """Checks law 2: what one cell starts stays in its cone, and nothing outruns the light cone.

    The state is compared with the empty lattice under the same draws: a rule that breaks the vacuum alone passes here.
    """
    away, growth = subject.away(centre(subject.size)), subject.growth
    # A step more, and the cone would fill the lattice: no cell would be left that could show a fault.
    steps = min(4, (int(away.max()) - 1) // growth)
    if steps < 1:
        raise _NotApplicable(f"no cell of {subject.size} is more than {growth} from the centre: choose a larger lattice")
    furthest, worst, broken = 0, 0.0, ""
    for trial in range(trials):
        draw = subject.draw(trial)
        grown, nothing = (subject.walk(state, steps, draw) for state in (subject.seed(), subject.empty()))
        for step, (one, other) in enumerate(zip(grown, nothing, strict=True), start=1):
            gap = (one - other).abs().amax(dim=(0, 1))
            beyond = float(torch.where(away > growth * step, gap, 0).max())  # a gap of one bit is one too many
            radius = int(torch.where(gap > 0, away, 0).max())
            furthest = max(furthest, radius)
            if beyond > worst:
                worst, broken = beyond, f"{step} steps after one seed cell, radius {radius} is reached, allowed {growth * step}"
    fine = f"radius {furthest} is reached in {steps} steps, allowed {growth * steps}"
    return not broken, (broken or fine) + subject.assumed, worst


def _locality(subject: Subject, trials: int) -> Result:
    """Checks law 3: one cell is changed, and beyond the reach not one bit follows. No tolerance: the sums are the same."""
    worst, broken = 0.0, ""
    for trial in range(trials):
        draw = subject.draw(trial)
        generator = torch.Generator().manual_seed(draw)
        depth, height, width = (int(torch.randint(n, (1,), generator=generator)) for n in subject.size)
        far = subject.away((depth, height, width)) > subject.reach
        if not bool(far.any()):
            raise _NotApplicable(f"no cell of {subject.size} is more than {subject.reach} away: choose a larger lattice")
        state = subject.body(draw, share=(0.2, 0.6, 0.95)[trial % 3])
        changed = state.clone()
        # Alive, dead, negative, huge: a normalisation over space shows most clearly at the last.
        changed[0, :, depth, height, width] = (1.0, 0.0, -3.0, 1000.0)[trial % 4]
        one, other = (subject.walk(before, 1, draw)[-1] for before in (state, changed))
        gap = _gap(one[:, :, far], other[:, :, far])
        if gap > worst:
            worst, broken = gap, f"cell ({depth}, {height}, {width}) changes cells more than {subject.reach} away by {gap:.3g}"
    return not broken, (broken or f"nothing changes more than {subject.reach} away") + subject.assumed, worst


def _batch(subject: Subject, trials: int) -> Result:
    """Checks law 6: a sample goes its way whoever its neighbours in the batch are."""
    worst = 0.0
    for trial in range(trials):
        draw, same = subject.draw(trial), trial % 3  # each place in the batch in turn
        # The neighbours are replaced by larger and sparser ones: their mean, variance and norm all differ.
        states, others = subject.body(draw, batch=3), 5 * subject.body(draw + 1, batch=3, share=0.3)
        others[same] = states[same]
        one, other = (subject.walk(batch, 2, draw)[-1][same] for batch in (states, others))
        worst = max(worst, _relative(one, other))
    return worst <= TOLERANCE, f"other samples in the batch change a sample by {worst:.3g} of its largest value", worst


def _translation(subject: Subject, trials: int) -> Result:
    """Checks law 7: a shifted state gives the shifted result, around the edge for rules that can, well inside for others."""
    subject, remark = _without_own_draws(subject)
    module = subject.module
    circular = isinstance(module, Rule) and module.wraps and type(module).pad is Rule.pad
    # Without circular padding the edge itself breaks the symmetry: only cells that it can't reach are compared.
    margin = 0 if circular else subject.reach + 1
    if min(subject.size) <= 2 * margin:
        raise _NotApplicable(f"a body needs {margin} empty cells around it: choose a larger lattice than {subject.size}")
    subject = subject.changed(padding="circular") if circular else subject
    depth, height, width = (slice(margin, n - margin) for n in subject.size)
    inside = (..., depth, height, width)
    worst, furthest, steps = 0.0, 4 if circular else 1, 2 if circular else 1
    for trial in range(trials):
        draw = subject.draw(trial)
        generator = torch.Generator().manual_seed(draw)
        shift = [int(s) for s in torch.randint(-furthest, furthest + 1, (3,), generator=generator)]
        shift = shift if any(shift) else [1, 0, 0]  # no shift at all would prove nothing
        state, fires = subject.empty(), subject.fires(draw, 1, steps)
        state[inside] = subject.body(draw)[inside]
        still = subject.walk(state, steps, draw, fires)[-1].roll(shift, (2, 3, 4))
        moved = subject.walk(state.roll(shift, (2, 3, 4)), steps, draw, fires.roll(shift, (3, 4, 5)))[-1]
        worst = max(worst, _relative(still[inside], moved[inside]))
    where = "under circular padding" if circular else "well inside the lattice"
    return worst <= TOLERANCE, f"a shift {where} changes {worst:.3g} of the largest value{remark}", worst


def _mirror(subject: Subject, trials: int) -> Result:
    """Checks law 7: mirrored state and mirrored kernels give the mirrored result.

    A rule that claims to be isotropic must mirror with its kernels as they are.
    """
    subject, remark = _without_own_draws(subject)
    module, claims = subject.module, subject.attribute("isotropic") is True
    # Only a rule that perceives by its kernels alone can be mirrored by mirroring them.
    by_kernels = isinstance(module, Rule) and all(
        getattr(type(module), name) is getattr(Rule, name) for name in ("forward", "perceive", "pad")
    )
    symmetric, worst = True, 0.0
    for trial in range(trials):
        draw, axis = subject.draw(trial), 2 + trial % 3
        other = subject
        if by_kernels and not claims and isinstance(module, Rule):
            kernels = module.kernels()
            flipped = [None if kernel is None else kernel.flip(axis - 1) for kernel in kernels]
            symmetric = symmetric and all(
                one is None or two is None or torch.equal(one, two) for one, two in zip(kernels, flipped, strict=True)
            )
            other = subject.changed(kernels=lambda flipped=flipped: flipped)
        state, fires = subject.body(draw), subject.fires(draw, 1, 2)
        plain = subject.walk(state, 2, draw, fires)[-1]
        mirrored = other.walk(state.flip(axis), 2, draw, fires.flip(axis + 1))[-1].flip(axis)
        worst = max(worst, _relative(plain, mirrored))
    detail = f"a mirrored state gives the mirrored result within {worst:.3g} of the largest value"
    if not by_kernels and not claims:
        raise _NotApplicable(f"the rule doesn't claim it by .isotropic = True; {detail}{remark}", worst)
    how = "" if claims or symmetric else ", once its kernels are mirrored too"
    return worst <= TOLERANCE, detail + how + remark, worst


def _finite(subject: Subject, trials: int) -> Result:
    """Checks that random bodies stay finite; `Subject.walk` raises a `Fault` when they don't."""
    steps, worst = 16, 0.0
    for trial in range(trials):
        worst = max(worst, float(subject.walk(subject.body(subject.draw(trial)), steps, subject.draw(trial))[-1].abs().max()))
    return True, f"{steps} steps of random bodies stay finite, below {worst:.3g}", worst


def _executors(subject: Subject, trials: int) -> Result:
    """Checks law 5: the executor that `nca3d.rollout` chooses for this rule agrees with the step as it is written."""
    if not isinstance(subject.module, Rule):
        raise _NotApplicable("executors run rules that are an nca3d.rules.Rule alone")
    worst = 0.0
    for trial in range(trials):
        # Sparse and full bodies in turn: the choice of executor depends on the number of living cells.
        draw, state = subject.draw(trial), subject.body(subject.draw(trial), batch=2, share=0.1 + 0.8 * (trial % 2))
        written = subject.walk(state, 3, draw)[-1]
        try:
            with torch.no_grad():
                run = rollout(copy.deepcopy(subject.module), state, 3, random_seed=draw)
        except Exception as error:
            raise Fault(f"rollout fails with {type(error).__name__}: {(str(error).splitlines() or [''])[0]}") from error
        worst = max(worst, _relative(written, run))
    return worst <= TOLERANCE, f"rollout and the step as written differ by {worst:.3g} of the largest value", worst


def _without_own_draws(subject: Subject) -> tuple[Subject, str]:
    """Returns a subject whose random numbers can be moved along with the state.

    Returns:
        The subject itself, or a copy that fires at every step; and a remark on that for the verdict, or "".
    """
    if not subject.draws_its_own():
        return subject, ""
    if isinstance(subject.attribute("fire_rate"), int | float):
        always = subject.changed(fire_rate=1.0)
        if not always.draws_its_own():
            return always, "; checked with fire_rate = 1"
    raise _NotApplicable("its own random numbers can't move with the state: take a fire mask as second argument")


def _gap(one: Tensor, other: Tensor) -> float:
    """Returns the largest |difference| of two states."""
    return float((one - other).abs().max())


def _relative(one: Tensor, other: Tensor) -> float:
    """Returns the largest |difference| of two states as a fraction of their largest |value|."""
    return _gap(one, other) / max(float(one.abs().max()), float(other.abs().max()), 1e-30)


LAWS: dict[str, Law] = {
    "vacuum": _vacuum,
    "light cone": _light_cone,
    "locality": _locality,
    "batch": _batch,
    "translation": _translation,
    "mirror": _mirror,
    "finite": _finite,
    "executors": _executors,
}
