"""Names are known without torch, and are those that are registered."""

import subprocess
import sys

import pytest

import pools
from nca3d.config.names import OF_WINGS, OWN
from nca3d.losses import LOSSES
from nca3d.registry import wing_entries
from nca3d.rules import RULES


@pytest.mark.parametrize(("field", "registry"), [("rule", RULES), ("losses", LOSSES), ("damages", pools.damage.DAMAGES)])
def test_they_are_those_of_the_registries(field, registry):
    assert {*OWN[field], *wing_entries(OF_WINGS[field])} == set(registry)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--rule conf", "did you mean 'conv'?"),
        ("--losses rbga=1", "did you mean 'rgba'?"),
        ("--damages spheer", "did you mean 'sphere'?"),
        ("--init zoo:fog", "did you mean 'frog'?"),
        ("--init nowhere", "found"),
    ],
)
def test_a_misspelled_name_is_told_before_torch_is_loaded(flags, word, tmp_path):
    call = f"code = main(['train', *{flags.split()}])"
    code = f"import sys; from nca3d.cli import main; {call}; assert 'torch' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and word in done.stderr and not list(tmp_path.iterdir()), done.stderr
