"""Errors carry their fields, are told in one form, and can be collected before any is raised."""

import pickle

import numpy as np
import pytest

import nca3d
from nca3d import rollout
from nca3d.errors import ArgumentError, ErrorCollector, InputError, InputErrors
from nca3d.rules import ConvRule
from pools import StatePool, damage
from visualize import save, volume

RULE = ConvRule()
HEART = nca3d.targets.load("heart", (5, 5, 5))
STATE = nca3d.seed_state(RULE, (5, 5, 5))
ONE, OTHER = InputError("a.toml", "size", [1, 2], "three"), InputError("--batch", "batch", "'x'", "an integer")


def test_an_error_has_its_fields_and_its_line():
    assert (ONE.where, ONE.field, ONE.found, ONE.allowed) == ("a.toml", "size", [1, 2], "three")
    assert str(ONE) == "a.toml: size: found [1, 2], allowed three" and ONE.errors == [ONE]
    assert str(InputError("a", "b", "many\n  lines " + "x" * 300, "d")).startswith("a: b: found many lines xxx")
    assert len(str(InputError("a", "b", "x" * 300, "d"))) < 230
    assert len(str(InputError("d/" * 3000, "name", "File name too long", "a shorter one"))) < 700
    with pytest.raises(ValueError, match="File name too long") as caught:
        save(np.ones((3, 3, 3, 4)), "d/" * 3000 + "x.glb")
    assert len(str(caught.value)) < 700


def test_several_are_a_line_each():
    both = InputErrors([ONE, InputErrors([OTHER])])
    assert both.errors == [ONE, OTHER] and str(both).splitlines() == [str(ONE), str(OTHER)]
    assert (both.where, both.field) == ("a.toml", "size")


def test_an_error_comes_through_another_process():
    for error in (ONE, InputErrors([ONE, OTHER]), ArgumentError("steps", -1, "0 or more")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and again.found == error.found


def test_errors_are_collected():
    with pytest.raises(InputErrors) as caught, ErrorCollector() as errors:
        errors.add(False, "a", "b", "c", "d")
        assert errors.of(int, "3") == 3 and errors.of(_fails) is None
        raise ONE
    assert caught.value.errors == [OTHER, ONE]
    with ErrorCollector() as errors:
        pass
    with pytest.raises(ZeroDivisionError), ErrorCollector() as errors:
        errors.append(ONE)
        raise ZeroDivisionError


def _fails() -> None:
    raise OTHER


@pytest.mark.parametrize(
    ("call", "fields", "line"),
    [
        (lambda: ConvRule(channels=2), ("channels", 2), "channels: found 2, allowed more than the 3 visible ones"),
        (lambda: rollout(RULE, STATE, 1.5), ("steps", "1.5"), "steps: found 1.5, allowed a whole number"),
        (lambda: rollout(RULE, STATE, True), ("steps", "True"), "steps: found True, allowed a whole number"),
        (lambda: rollout(RULE, STATE, 1, sample_ids=STATE[:, 0, 0, 0, 0]), ("sample_ids", "torch.float32"), "whole numbers"),
        (lambda: nca3d.load(3), ("name", "a int"), "rule: name: found a int, allowed a text or a Path"),
        (lambda: nca3d.evaluate(None), ("rule", "a NoneType"), "evaluate: rule: found a NoneType"),
        (
            lambda: nca3d.evaluate(RULE, HEART, horizon=1.5),
            ("horizon", "1.5"),
            "evaluate: horizon: found 1.5, allowed 1 step or more, a whole number",
        ),
        (lambda: damage.sphere((5, 5, 5), 1, severity="half"), ("severity", "'half'"), "damage: severity: found 'half'"),
        (lambda: ConvRule(channels="16"), ("channels", "'16'"), "channels: found '16', allowed a whole number"),
        (lambda: ConvRule(channels=16.5), ("channels", "16.5"), "channels: found 16.5, allowed a whole number"),
        (lambda: nca3d.to_rgba(STATE[0, 0], RULE), ("state", "shape (5, 5, 5)"), "allowed (B, 16, D, H, W)"),
        (lambda: nca3d.tell(RULE, HEART, -1, []), ("steps", "-1"), "tell: steps: found -1, allowed 0 or more"),
        (lambda: StatePool(STATE, generator=3), ("generator", "a int"), "pool: generator: found a int"),
        (lambda: damage.register(3), ("name", "3"), "damage: name: found 3, allowed a printable text"),
        (lambda: damage.sphere((5, 5, 5), 1, severity=2), ("severity", 2.0), "damage: severity: found 2.0, allowed"),
        (
            lambda: volume([[1, 2], [3]]),
            ("rgba", "arrays of different shapes"),
            ": rgba: found arrays of different shapes, allowed",
        ),
    ],
)
def test_functions_of_all_packages_tell_the_same_fields(call, fields, line):
    with pytest.raises(ValueError) as caught:
        call()
    assert (caught.value.field, str(caught.value.found)) == (fields[0], str(fields[1]))
    assert line in str(caught.value) and caught.value.allowed
