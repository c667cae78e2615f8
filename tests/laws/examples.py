"""How many random examples a test asks for, in proportion to the profile: fewer in the fast tests, more in nightly ones."""

from hypothesis import settings

# Examples of a test that says nothing, in `make test`.
USUAL = 25


def examples(count: int) -> int:
    """So many in `make test`, in other runs as many more or fewer as their profile has."""
    return max(2, count * settings.default.max_examples // USUAL)
