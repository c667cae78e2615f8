"""What a command says that must fail."""

import pytest

from nca3d.cli import main


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The lines on stderr of a command that must fail with 2 and print nothing else."""
    assert main(argv) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.removesuffix("\n")
