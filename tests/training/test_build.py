"""How a training's rule is made from a config."""

import pytest

import nca3d
from nca3d import Config
from nca3d.training.build import shaped
from nca3d.training.trainer import Trainer


def test_a_config_that_leaves_shapes_open_takes_those_of_the_rule_to_start_from():
    """Whoever starts from a rule need not know how wide it is; what the config says itself stays."""
    config = Config(target="castle", init="zoo:castle")
    rule = nca3d.load("zoo:castle")
    found = shaped(config)
    assert (found.hidden, found.code, found.perception) == (rule.hidden, rule.code, rule.perception)
    assert shaped(Config(target="castle", init="zoo:castle", hidden=(7,))).hidden == (7,)
    plain = Config(target="cross", init="zoo:jack")
    assert shaped(plain).perception == "isotropic" and shaped(plain).code == 0
    assert shaped(Config(target="cross")).open_fields == Config(target="cross").open_fields


def test_a_code_for_colours_is_refused():
    with pytest.raises(nca3d.InputError, match=r"config: code: found 8, allowed 0: sphere is in colours"):
        Trainer.begin(Config(target="sphere", size=(7, 7, 7), code=8))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"code": 8.5}, "code: found 8.5, allowed 1 to 23"),
        ({"code": True}, "code: found True"),
        ({"channels": 17}, "channels: found 17, allowed 18 or more"),
        ({"visible_kind": "rgba"}, "visible_kind: found 'rgba', allowed 'classes'"),
    ],
)
def test_a_coded_rule_says_which_argument_is_wrong(options, line):
    with pytest.raises(ValueError, match=line):
        nca3d.CodedRule(**options)


def test_a_field_of_the_config_is_blamed_by_its_name():
    with pytest.raises(nca3d.InputError, match=r"config: code: found 64, allowed 1 to"):
        Trainer.begin(Config(target="castle", size=(20, 18, 18), code=64, channels=50))
