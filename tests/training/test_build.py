"""How a training's rule is made from a config."""

import nca3d
from nca3d import Config
from nca3d.training.build import shaped


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
