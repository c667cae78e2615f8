"""`check_laws` on rules that keep the laws, and on modules made to break one each."""

import copy

import pytest
import torch
from rule_cases import RULE_CASES, fresh, lively
from torch import nn

import nca3d
from nca3d.errors import InputError
from nca3d.evaluation.laws.checks import LAWS, check_laws
from nca3d.load import from_file
from nca3d.rules import ConvRule

C = 6


class Plain(nn.Module):
    """A rule as someone writes it who knows nothing of nca3d: a convolution whose output is added to the state."""

    channels = C

    def __init__(self, width: int = 3, bias: bool = False, **attributes):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv3d(C, C, width, padding=width // 2, bias=bias)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, state):
        return state + 0.3 * torch.tanh(self.change(state))

    def change(self, state):
        return self.conv(state)


class Normed(Plain):
    """Normalisation over space, over the batch, or over both."""

    def __init__(self, norm: nn.Module, **attributes):
        super().__init__(**attributes)
        self.norm = norm

    def change(self, state):
        return self.norm(self.conv(state))


class Placed(Plain):
    """Knows where it is."""

    def change(self, state):
        return self.conv(state) * torch.linspace(0.5, 1.5, state.shape[-1])


class Symmetric(Plain):
    def change(self, state):
        weight = self.conv.weight
        for axis in (2, 3, 4):
            weight = weight + weight.flip(axis)
        return nn.functional.conv3d(state, weight / 8, padding=1)


class Asked(Plain):
    """Takes the fire mask; or draws one of its own."""

    def forward(self, state, fire):
        assert fire.dtype == torch.bool and fire.shape == (len(state), 1, *state.shape[2:])
        return torch.where(fire, super().forward(state), state)


class Drawing(Plain):
    def forward(self, state):
        fire = torch.rand(state[:, :1].shape) < getattr(self, "fire_rate", 0.5)
        return torch.where(fire, super().forward(state), state)


class Counting(Plain):
    """Changes with each call, and works in place."""

    calls = 0

    def forward(self, state):
        self.calls += 1
        return state.mul_(1 + 0.01 * self.calls)


class Bursting(Plain):
    def change(self, state):
        return self.conv(state) * torch.where(state.abs().amax() > 0.9, torch.nan, 1.0)


class Growing(Plain):
    def forward(self, state):
        return state * 1e4


class Crashing(Plain):
    def forward(self, state):
        raise RuntimeError("no such luck\nsecond line")


class Answering(Plain):
    """Returns something that is no state."""

    def forward(self, state):
        return {"tuple": (state, 1), "shape": state[:, :1]}[self.answer]


class NormedRule(ConvRule):
    def __init__(self):
        super().__init__(channels=8, hidden=(24,))
        self.norm = nn.GroupNorm(1, 32)

    def perceive(self, state):
        return self.norm(super().perceive(state))


class FarRule(ConvRule):
    def perceive(self, state):
        return super().perceive(state + state.roll(2, 3))


class PlacedRule(ConvRule):
    def perceive(self, state):
        return super().perceive(state) * torch.arange(1.0, 1.0 + state.shape[2])[:, None, None]


class LeaningRule(ConvRule):
    """Claims what isn't so."""

    isotropic = True


class CrowdRule(ConvRule):
    """Its update isn't pointwise: it looks at all the cells that it is given."""

    def update(self, perception):
        return self.network(perception - perception.mean(dim=tuple(range(perception.ndim - 1))))


def train_norm() -> nn.Module:
    return nn.BatchNorm3d(C, affine=False)


#: A maker and the laws that it breaks: those and no others.
BROKEN = {
    "group norm": (lambda: Normed(nn.GroupNorm(2, C)), {"locality", "light cone"}),
    "instance norm": (lambda: Normed(nn.InstanceNorm3d(C)), {"locality", "light cone"}),
    "batch norm in training": (lambda: Normed(train_norm()), {"batch", "locality", "light cone"}),
    "bias": (lambda: Plain(bias=True), {"vacuum"}),
    "5×5×5, no reach declared": (lambda: Plain(5), {"light cone"}),
    "7×7×7, no reach declared": (lambda: Plain(7), {"light cone", "locality"}),
    "9×9×9, reach 3 declared": (lambda: Plain(9, reach=3), {"light cone", "locality"}),
    "position": (Placed, {"translation"}),
    "claims isotropic": (lambda: Plain(isotropic=True), {"mirror"}),
    "NaN": (Bursting, {"light cone", "locality", "batch", "finite", "translation", "mirror"}),
    "grows without end": (Growing, {"finite"}),
    "crash": (Crashing, {*LAWS} - {"executors"}),
    "a tuple": (lambda: Answering(answer="tuple"), {*LAWS} - {"executors"}),
    "another shape": (lambda: Answering(answer="shape"), {*LAWS} - {"executors"}),
    "rule with group norm": (NormedRule, {"locality"}),
    "rule that looks too far": (lambda: FarRule(8, (24,)), {"locality"}),  # its alive mask keeps the cone
    "the same without alive mask": (lambda: FarRule(8, (24,), alive_threshold=None), {"locality", "light cone"}),
    "rule that knows its place": (lambda: PlacedRule(8, (24,)), {"translation"}),
    "rule that claims isotropic": (lambda: LeaningRule(8, (24,)), {"mirror"}),
    "rule that looks at the crowd": (lambda: CrowdRule(8, (24,)), {"executors", "locality", "batch"}),
}


def broken(verdicts) -> set[str]:
    return {verdict.law for verdict in verdicts if verdict.status == "broken"}


def by_law(rule, **options) -> dict:
    return {verdict.law: verdict for verdict in check_laws(rule, **{"trials": 3, **options})}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_law_is_found(name):
    make, laws = BROKEN[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        verdicts = check_laws(make(), trials=3)
    assert broken(verdicts) == laws, verdicts
    assert all("\n" not in verdict.detail for verdict in verdicts)


def test_every_law_has_something_that_breaks_it_alone_or_nearly_so():
    found = set().union(*(laws for _, laws in BROKEN.values() if len(laws) <= 4))
    assert found == set(LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("name", RULE_CASES)
def test_rules_keep_all_laws(name):
    rule = lively(name)
    verdicts = check_laws(rule, trials=2)
    assert [verdict.law for verdict in verdicts] == list(LAWS)
    # Kernels are mirrored where a rule has them itself: that of a core is a case of its own, as a plain rule.
    asked = [verdict for verdict in verdicts if not (verdict.law == "mirror" and rule.core)]
    assert all(verdict.status == "holds" for verdict in asked), verdicts
    assert not any("nothing yet" in verdict.detail for verdict in verdicts)


@pytest.mark.slow
def test_the_shipped_rule_keeps_all_laws():
    verdicts = check_laws(nca3d.load("zoo:axolotl"), random_seed=3)
    assert all(verdict.status == "holds" for verdict in verdicts), verdicts


def cube(**options):
    given = {"size": (7, 6, 8), "features": 6, "memory": 3, "external": 2, "widened": 8}
    return nca3d.GMLPRule(**{**given, "generator": torch.Generator().manual_seed(0), **options})


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "cube"},
        {"preset": "cube", "start": "carry"},
        {"preset": "cube", "weights": "low_rank", "fire_rate": 0.5},
        {"preset": "cube", "periods": (1, 3)},
        {"weights": "types", "dropout": 0.3},
        {"preset": "cube", "coarse": 2},
        {"preset": "cube", "weights": "shared"},
    ],
)
def test_cubes_keep_the_laws_that_speak_of_them(options):
    """On their own lattice; what can't be asked says why, and by name for the leaky preset."""
    rule = cube(**options)
    verdicts = by_law(rule)
    assert not broken(verdicts.values()), verdicts
    asked = {law for law, verdict in verdicts.items() if verdict.status == "holds"}
    expected = {"light cone", "locality", "batch", "finite", "executors"}
    assert asked == expected | ({"translation"} if options.get("weights") == "shared" else set())
    leaky = rule.preset == "cube"
    assert ("preset 'cube'" if leaky else "alive_threshold") in verdicts["vacuum"].detail
    assert "radius 3 is reached" in verdicts["light cone"].detail  # filled to the rim, so the check is no empty one
    assert ("nothing yet" in verdicts["finite"].detail) == (not leaky)
    assert rule.training


class FarCube(nca3d.GMLPRule):
    def perception(self, padded, external, cells):
        return super().perception(padded.roll(3, 0), external, cells)


class CrowdCube(nca3d.GMLPRule):
    def external_input(self, visible, inputs):
        return super().external_input(visible, inputs) + visible.mean(dim=1, keepdim=True)[..., : self.external]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "laws"), [(FarCube, {"locality", "light cone"}), (CrowdCube, {"batch", "executors"})])
def test_cubes_that_break_a_law_are_found(kind, laws):
    rule = kind((7, 6, 8), 6, 3, 2, 8, preset="cube", generator=torch.Generator().manual_seed(0))
    assert broken(check_laws(rule, trials=3)) == laws


def test_a_cube_is_asked_on_its_own_lattice_alone():
    with pytest.raises(InputError, match=r"size: found \(9, 9, 9\), allowed \(7, 6, 8\), the rule's own lattice"):
        check_laws(cube(), size=(9, 9, 9))


def test_a_fresh_rule_is_asked_as_a_lively_copy():
    rule = fresh("gradient")
    verdicts = by_law(rule)
    assert not broken(verdicts.values()) and all("nothing yet" in verdict.detail for verdict in verdicts.values())
    assert verdicts["mirror"].worst > 0  # something did happen
    assert not rule.network[-1].weight.any()
    idle = nn.Identity()
    assert "does nothing yet" in by_law(idle, channels=4)["vacuum"].detail


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        Plain,
        lambda: Plain(5, reach=2),
        lambda: Plain(7, reach=3),
        lambda: Plain(isotropic=False),
        Symmetric,
        Asked,
        Counting,
        lambda: Normed(train_norm()).eval(),
        lambda: Normed(nn.Dropout(0.3)),
        lambda: Plain().double(),
        lambda: Plain(alpha=0),
    ],
)
def test_modules_that_keep_the_laws(make):
    verdicts = by_law(make(), size=(11, 10, 9))
    assert not broken(verdicts.values()), verdicts
    kept = {law for law, verdict in verdicts.items() if verdict.status == "holds"}
    assert {"vacuum", "light cone", "locality", "batch", "finite"} <= kept


def test_an_assumed_reach_is_said():
    assumed, declared = by_law(Plain()), by_law(Plain(reach=2))
    for law in ("light cone", "locality"):
        assert "reach 2 assumed" in assumed[law].detail and "assumed" not in declared[law].detail
    assert "radius 4 is reached in 4 steps" in assumed["light cone"].detail  # the cone is filled, so the check is no empty one


@pytest.mark.slow
def test_what_cannot_be_asked_says_why():
    assert by_law(Plain(bias=True, alive_threshold=None))["vacuum"].status == "not asked"
    leaky = lively("gradient")
    leaky.alive_threshold = None
    verdicts = by_law(leaky)
    assert not broken(verdicts.values()) and "alive_threshold" in verdicts["vacuum"].detail
    mirror = by_law(Plain())["mirror"]
    assert mirror.status == "not asked" and mirror.worst > 0.01 and "isotropic" in mirror.detail
    assert by_law(Symmetric(isotropic=True))["mirror"].status == "holds"
    tiny = {law for law, verdict in by_law(Plain(), size=(3, 3, 3)).items() if "larger lattice" in verdict.detail}
    assert tiny == {"locality", "light cone", "translation"}


def test_a_rule_is_exempt_by_name_and_says_why():
    verdicts = by_law(Plain(bias=True, exempt={"vacuum": "its bias is what it is about"}))
    assert (verdicts["vacuum"].status, verdicts["vacuum"].detail) == ("not asked", "its bias is what it is about")
    assert not broken(verdicts.values())


def test_own_randomness_is_the_same_for_both_sides_and_leaves_the_callers_alone():
    before = torch.get_rng_state()
    verdicts = by_law(Drawing())
    assert torch.equal(torch.get_rng_state(), before)
    assert not broken(verdicts.values()) and verdicts["locality"].status == "holds"
    assert verdicts["translation"].status == "not asked" and "random numbers" in verdicts["translation"].detail
    still = by_law(Drawing(fire_rate=0.5, isotropic=True))
    assert still["translation"].status == "holds" and "fire_rate = 1" in still["translation"].detail
    assert still["mirror"].status == "broken"


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Normed(train_norm()), Counting, lambda: fresh("learned"), Asked])
def test_the_rule_given_is_never_changed(make):
    rule = make()
    before = copy.deepcopy(rule)
    check_laws(rule, trials=2)
    assert rule.training and all(weight.requires_grad for weight in rule.parameters())
    assert all(torch.equal(one, two) for one, two in zip(rule.state_dict().values(), before.state_dict().values(), strict=True))
    assert {**vars(rule), **{name: 0 for name in ("_parameters", "_buffers", "_modules")}}.keys() == vars(before).keys()
    assert getattr(rule, "calls", 0) == 0 and getattr(rule, "padding", "zeros") == "zeros"


@pytest.mark.slow
def test_the_seed_alone_decides():
    rule = lively("learned")
    assert check_laws(rule, random_seed=5, trials=2) == check_laws(rule, random_seed=5, trials=2)
    one, other = (by_law(rule, random_seed=seed, trials=2)["finite"].worst for seed in (5, 6))
    assert one != other


class Three(nn.Module):
    def forward(self, state, fire, time): ...


class Named(nn.Module):
    def forward(self, state, *, time): ...


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: check_laws(nn.Identity()), ["Identity", "channels", "None"]),
        (lambda: check_laws(Plain(), channels=0), ["channels", "0"]),
        (lambda: check_laws(Plain(channels="many")), ["channels", "'many'"]),
        (lambda: check_laws(Three(), channels=4), ["Three", "forward", "(state, fire, time)", "(state, fire_mask)"]),
        (lambda: check_laws(Named(), channels=4), ["Named", "forward", "time"]),
        (lambda: check_laws(Plain), ["rule", "type", "torch.nn.Module"]),
        (lambda: check_laws(Plain(), trials=0), ["trials", "0"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, words):
    with pytest.raises(InputError) as refusal:
        call()
    assert all(word in str(refusal.value) for word in (*words, "found", "allowed")) and "\n" not in str(refusal.value)


FILE = """
import torch
from torch import nn

class Mine(nn.Module):
    channels = 5
    def forward(self, state):
        return 0.5 * state

class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()

def make():
    return Mine()

def fail():
    return 1 / 0

mine = Mine().eval()
number = 3
"""


@pytest.mark.parametrize("name, trains", [("Mine", True), ("make", True), ("mine", False)])
def test_a_rule_from_a_file(tmp_path, name, trains):
    (tmp_path / "own.py").write_text(FILE)
    rule = from_file(f"{tmp_path / 'own.py'}:{name}")
    assert rule.training == trains and not broken(check_laws(rule, trials=2))


@pytest.mark.parametrize(
    "text, words",
    [
        ("own.py", ["'own.py'", "FILE.py:NAME"]),
        ("own.py:", ["FILE.py:NAME"]),
        ("none.py:Mine", ["none.py", "no such file"]),
        ("bad.py:Mine", ["bad.py", "ImportError: not here"]),
        ("torn.py:Mine", ["torn.py", "SyntaxError"]),
        ("own.py:Mina", ["own.py", "'Mina'", "Mine, Wide, make, fail, mine", "did you mean 'Mine'"]),
        ("own.py:number", ["own.py", "number", "int", "torch.nn.Module"]),
        ("own.py:Wide", ["own.py", "Wide", "TypeError", "without arguments"]),
        ("own.py:fail", ["own.py", "fail", "ZeroDivisionError"]),
    ],
)
def test_a_file_that_does_not_do_is_refused_in_one_line(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    for name, source in {"own": FILE, "bad": "raise ImportError('not here')", "torn": "def (:"}.items():
        (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(InputError) as refusal:
        from_file(text)
    assert all(word in str(refusal.value) for word in words) and "\n" not in str(refusal.value), refusal.value
