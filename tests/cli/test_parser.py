"""Words of a command line: what is wrong is told by the flag's or the argument's name and by counts."""

from pathlib import Path

import pytest

from nca3d.cli.parser import Parser
from nca3d.errors import InputError


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="nca3d grow")
    made.add_argument("run", metavar="RUN")
    made.add_argument("files", metavar="FILE", nargs="*", type=Path)
    made.add_argument("--size", metavar="N", nargs=3, type=int)
    made.add_argument("--names", metavar="NAME", nargs="+")
    made.add_argument("--laws", action="store_true")
    return made


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "RUN: found nothing: missing argument RUN, allowed one, see nca3d grow --help"),
        ("a --size 1 2", "--size: found 2 values, allowed 3"),
        ("a --size --laws", "--size: found no value, allowed 3"),
        ("a --size=1", "--size: found 1 value, allowed 3"),
        ("a --names --laws", "--names: found no value, allowed one or more"),
        ("a --size 1 2 x", "--size: found 'x', allowed a whole number"),
        ("a --laws=yes", "--laws: found 'yes', allowed no value"),
        ("a --lawz", "--lawz: found an unknown flag, allowed a flag of nca3d grow --help; did you mean '--laws'?"),
    ],
)
def test_one_line_with_the_name_of_the_flag(parser: Parser, line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parser.read(line.split())
    assert str(caught.value) == f"nca3d grow: {told}"
    assert caught.value.where == "nca3d grow"


def test_all_unknown_flags_and_missing_arguments_at_once(parser: Parser) -> None:
    with pytest.raises(InputError) as caught:
        parser.read(["--lawz", "--sizes"])
    assert [error.field for error in caught.value.errors] == ["--lawz", "--sizes", "RUN"]


def test_arguments_that_may_be_many_stand_anywhere(parser: Parser) -> None:
    args = parser.read(["a", "b", "--laws", "c", "--size", "1", "2", "3", "d"])
    assert (args.run, args.files, args.size, args.laws) == ("a", [Path("b"), Path("c"), Path("d")], [1, 2, 3], True)
