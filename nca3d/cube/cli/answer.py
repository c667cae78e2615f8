"""The command `nca3d answer`: asks a trained cube and prints the nearest answers to each question, with scores."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.cli.flags import SEEDS, STDOUT, add_fields, plugins_of, wrong_numbers, wrong_text
from nca3d.config import Config
from nca3d.cube.export.record import is_surface_folder, read_record
from nca3d.cube.questions import LONGEST, encodable
from nca3d.cube.threshold import FEWEST
from nca3d.errors import ErrorCollector, InputError
from nca3d.files import write_atomic
from nca3d.load import CONFIG, RuleRef, run_folder

if TYPE_CHECKING:
    from nca3d.cube.answers import Askable, Verdict

# The help of the argument RUN, of `nca3d serve` too.
RUN = "a run folder of regime answering, one of its checkpoints, or a folder of nca3d export --surface"
# Characters of the bar that shows a score of 1.
BAR = 20


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `nca3d answer` to a parser."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help="one or more texts; - reads lines from stdin")
    parser.add_argument("--best", metavar="N", type=int, default=5, help="answers to each question (default: 5)")
    parser.add_argument("--steps", metavar="N", type=int, help="how long the cube thinks (default: as long as in training)")
    parser.add_argument("--random-seed", metavar="N", type=int, default=0, help="chooses which cells fire (default: 0)")
    add_fields(parser, ("plugins",))
    parser.add_argument("--json", metavar="FILE", help="write the answers there too; - prints them instead")


def run(args: argparse.Namespace) -> None:
    """Asks the questions and prints the answers, or writes them as JSON.

    Raises:
        InputErrors: Arguments are wrong; as far as possible all are found before torch loads.
    """
    questions = _checked(args)
    cube = open_cube(args.run, plugins_of(args))
    verdicts = cube.verdicts(questions, best=args.best, steps=args.steps, random_seed=args.random_seed)
    if note := _unmeasured(args, cube):
        print(f"{args.run}: {note}", file=sys.stderr)
    if args.json:
        about = {"run": args.run, **cube.about()}
        about |= {"steps": args.steps or about["horizon"], "random_seed": args.random_seed}
        entries = [
            {"question": question, "answers": [reply._asdict() for reply in one.replies], "sure": one.sure, "doubt": one.doubt}
            for question, one in zip(questions, verdicts, strict=True)
        ]
        text = json.dumps(about | {"questions": entries}, indent=1, ensure_ascii=False) + "\n"
        if args.json == STDOUT:  # alone on stdout, so that another program can read it
            print(text, end="")
            return
        write_atomic(Path(args.json), text.encode())
    print("\n\n".join(_answer_text(question, one) for question, one in zip(questions, verdicts, strict=True)))


def check_cube(name: str, plugins: Sequence[str] | None = None) -> None:
    """Checks whether a name is a cube's, as far as possible without loading torch.

    Args:
        name: A run folder, one of its checkpoints, or a folder of `nca3d export --surface`.
        plugins: What to run first instead of the run's own plug-ins; see `nca3d.load`.

    Raises:
        InputError: There is no cube by this name, or its plug-ins may not be run.
    """
    if is_surface_folder(name):
        read_record(name)
        return
    config = Config.load(run_folder(name) / CONFIG)
    RuleRef(name, plugins=plugins)
    if config.kind.table != "cube":
        raise InputError(name, "regime", repr(config.regime), "answering: a run of nca3d train that is asked, or its export")


def open_cube(name: str, plugins: Sequence[str] | None = None) -> "Askable":
    """Loads the cube of a name that `check_cube` accepts; of an exported folder without its rule and training."""
    # Each import loads only what this kind of cube needs: an export must work where no compiler and no training set is.
    if is_surface_folder(name):
        from nca3d.cube.export.folder import SurfaceCube

        return SurfaceCube.load(name)
    from nca3d.cube.ask import Cube

    return Cube.of_run(name, plugins=plugins)


def _unmeasured(args: argparse.Namespace, cube: "Askable") -> str:
    """Returns why nobody knows when this cube is not sure, and what to do; "" = it is known."""
    threshold = cube.threshold
    if threshold is None:
        how = "nca3d evaluate its run, then export it again" if is_surface_folder(args.run) else f"nca3d evaluate {args.run}"
        return f"when it is not sure was never measured on held-out questions: {how} (it takes {FEWEST} of them)"
    if args.steps not in (None, threshold.steps):
        return f"when it is not sure was measured for {threshold.steps} steps, not for {args.steps}"
    return ""


def _checked(args: argparse.Namespace) -> list[str]:
    """Returns the questions, those of stdin included, once all arguments are checked."""
    with ErrorCollector() as errors:
        errors += wrong_numbers(args, best=(1, None), steps=(1, None), random_seed=SEEDS)
        errors += wrong_text("--json", args.json)
        errors.of(check_cube, args.run, plugins_of(args))
        empty = any(not text.strip() for text in args.questions)
        errors.add(empty, "nca3d answer", "QUESTION", "an empty text", "texts with at least one word each")
        errors.add(args.questions.count("-") > 1, "nca3d answer", "QUESTION", "- twice", "stdin once")
    # Stdin is read only now: nobody should type questions for a run that doesn't exist.
    questions = [line for text in args.questions for line in (_lines() if text == "-" else [text])]
    if not questions:
        raise InputError("nca3d answer", "stdin", "nothing", "a question on each line")
    for question in questions:
        if not encodable(question):  # Python passes on bytes that are no UTF-8 as halves of surrogate pairs
            raise InputError("nca3d answer", "QUESTION", ascii(question), "a text in UTF-8")
        if len(question) > LONGEST:  # as of questions to learn
            raise InputError("nca3d answer", "QUESTION", f"{len(question):,} characters", f"at most {LONGEST:,}")
    return questions


def _lines() -> list[str]:
    """Returns the lines of stdin that are not empty."""
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError("nca3d answer", "stdin", f"byte 0x{error.object[error.start]:02x}", "a text in UTF-8") from None


def _answer_text(question: str, verdict: "Verdict") -> str:
    """Returns the question and a line for each answer: a mark at the first, the score, a bar, the text; and a doubt, if any."""
    lines = [_printable(question)]
    for place, (answer, score) in enumerate(verdict.replies):
        # A cosine may be negative, a bar can't.
        bar = "█" * round(BAR * max(score, 0))
        mark = " " if place else "?" if verdict.doubt else "→"
        lines.append(f"{mark} {score:6.3f}  {bar:<{BAR}}  {_printable(answer)}")
    if verdict.doubt:
        lines.append(f"  not sure: {verdict.doubt}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Returns a text on one line, without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split()))
