"""What varies: texts of the shell as values and ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.config.words import plain_value, split_values
from nca3d.errors import InputError
from nca3d.schema.spec import toml
from nca3d.sweep.axes import Choices, Span, read_axes


def axis(text: str, *, search: bool = False) -> Choices | Span:
    (one,) = read_axes([text], search=search)
    return one


def refusal(*texts: str, search: bool = False) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_axes(texts, search=search)
    return str(caught.value).splitlines()


def test_values_are_those_of_a_file() -> None:
    assert axis("fire_rate=0.3,0.5,1") == Choices("fire_rate", (0.3, 0.5, 1))
    assert axis("hidden=[64],[128,64]") == Choices("hidden", ([64], [128, 64]))
    assert axis("size=auto,[8,9,10]").probes == ("auto", [8, 9, 10])
    assert axis("damages=[sphere],[sphere,half_space]").probes == (["sphere"], ["sphere", "half_space"])
    assert axis("report=true,false").probes == (True, False)
    assert axis("rule_options.weights=per_cell,shared") == Choices("rule_options.weights", ("per_cell", "shared"))
    assert axis("target=frog,a.b/c.npy").probes == ("frog", "a.b/c.npy")


def test_ranges_are_logarithmic_where_they_span_a_decade() -> None:
    assert axis("learning_rate=1e-3..1e-2", search=True) == Span("learning_rate", 1e-3, 1e-2, log=True)
    assert axis("learning_rate=1e-3..9e-3", search=True) == Span("learning_rate", 1e-3, 9e-3, log=False)
    assert axis("learning_rate=1e-3..1e-2:linear", search=True) == Span("learning_rate", 1e-3, 1e-2, log=False)
    assert axis("batch=4..8:log", search=True) == Span("batch", 4, 8, log=True)
    assert axis("damage_from=0..1", search=True) == Span("damage_from", 0.0, 1.0, log=False)
    assert axis("losses.rgba=0.5..2", search=True) == Span("losses.rgba", 0.5, 2.0, log=False)
    ends = axis("batch=4..8", search=True).probes
    assert ends == (4, 8) and all(type(end) is int for end in ends)


def test_all_that_is_wrong_is_told_at_once() -> None:
    lines = refusal("fire_rat=1", "out=a,b", "batch", "batch=4,4", "batch=1,,2", "hidden.x=1", "batch=2,3", "batch=5")
    assert len(lines) == 7 and all(line.startswith("--vary: ") and ", allowed " in line for line in lines)
    assert "did you mean 'fire_rate'" in lines[0] and "--out FOLDER" in lines[1] and "4 twice" in lines[3]
    assert lines[6] == "--vary: batch: found the field twice, allowed all its values in one place"


@pytest.mark.parametrize("text", ["hidden=1..2", "batch=8..4", "batch=a..b", "batch=4..4", "target=1..2", "batch=true..false"])
def test_a_range_is_of_a_number(text: str) -> None:
    assert "LOW..HIGH" in refusal(text, search=True)[0]


def test_a_grid_has_no_range_and_a_logarithm_no_zero() -> None:
    assert "--search tpe" in refusal("batch=2..4")[0]
    assert "above 0" in refusal("damage_from=0..1:log", search=True)[0]


PLAIN = st.recursive(
    st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab,[]\"'\\ =", max_size=6),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(PLAIN, min_size=1, max_size=4))
def test_what_toml_writes_is_read_back(values: list[object]) -> None:
    """As a law: values written in TOML, joined by commas, are these values again."""
    parts = split_values(",".join(map(toml, values)))
    assert len(parts) == len(values)
    assert [plain_value(part) for part in parts] == values
