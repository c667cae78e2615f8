"""What a call says that must fail because of its input."""

from collections.abc import Callable

import pytest

from nca3d.errors import InputError


def told(call: Callable[[], object]) -> str:
    """The one line of its InputError."""
    with pytest.raises(InputError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    assert ": found " in line and ", allowed " in line
    return line
