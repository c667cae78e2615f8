"""Reads a command line by argparse, and tells what is wrong with it in the one form that all errors have."""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

from nca3d.errors import ErrorCollector, InputError, nearest

# How errors call what argparse expects: numbers of values by `nargs`, and types.
COUNTS: dict[object, str] = {None: "one", "+": "one or more"}
NOUNS: dict[object, str] = {int: "a whole number", float: "a number"}


class Parser(argparse.ArgumentParser):
    """The parser of one verb."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Returns the values of all flags and arguments; arguments that may be many may stand anywhere among the flags.

        Raises:
            InputError: an unknown flag, a missing argument, too many or too few values, a value that is no number.
        """
        places = [action for action in self._actions if not action.option_strings]
        for action in places:
            action.required = False  # argparse would tell of all that are missing in one sentence
        for word in itertools.takewhile(lambda word: word != "--", argv):
            flag, given, value = word.partition("=")
            if given and flag in self._option_string_actions and self._option_string_actions[flag].nargs == 0:
                raise InputError(self.prog, flag, repr(value), "no value")
        args, extra = self.parse_known_args(self._spread(argv))
        many = next((action for action in places if action.nargs == "*"), None)
        if many and not any(word.startswith("-") for word in extra):
            # argparse takes them from one place
            setattr(args, many.dest, [*(getattr(args, many.dest) or []), *(self._get_value(many, word) for word in extra)])
            extra = []
        with ErrorCollector() as errors:
            # the value of an unknown flag lands among the arguments: not worth a line of its own
            unknown = [word.split("=")[0] for word in extra if word.startswith("--")]
            for flag in unknown:
                hint = nearest(flag, self._option_string_actions)
                errors.append(InputError(self.prog, flag, "an unknown flag", f"a flag of {self.prog} --help{hint}"))
            errors.add(bool(extra and not unknown), self.prog, "arguments", " ".join(extra), f"fewer, see {self.prog} --help")
            errors += [
                _missing(self.prog, str(action.metavar), COUNTS[action.nargs])
                for action in places
                if action.nargs in COUNTS and getattr(args, action.dest) is None
            ]
        return args

    def _spread(self, argv: Sequence[str]) -> list[str]:
        """Returns the words with each that stands in for several values, as in `--size auto`, as often as argparse counts."""
        spread: list[str] = []
        flag = ""
        for word in argv:
            name, given, value = word.partition("=")
            action = self._option_string_actions.get(name if given else flag)
            stands_in = (value if given else word) in getattr(action, "words", ())
            if action is not None and stands_in and isinstance(action.nargs, int):
                spread += [name] * bool(given) + [value if given else word] * action.nargs
            else:
                spread.append(word)
            flag = word
        return spread

    def error(self, message: str) -> NoReturn:
        """Raises what argparse itself complains of, where nothing above did before, in its own words.

        Raises:
            InputError: always.
        """
        raise InputError(self.prog, "arguments", message, f"what {self.prog} --help says")

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError:
            count = len(arg_strings_pattern) - len(arg_strings_pattern.lstrip("A"))  # A for each value, O for each flag
            found = f"{count or 'no'} value{'s' * (count > 1)}"
            raise InputError(self.prog, action.option_strings[0], found, COUNTS.get(action.nargs, str(action.nargs))) from None

    def _get_value(self, action: argparse.Action, arg_string: str) -> object:
        # a variable of a script that is not set: as a path it would be the current folder
        if not arg_string:
            name = action.option_strings[0] if action.option_strings else str(action.metavar)
            raise InputError(self.prog, name, repr(arg_string), f"a value that is not empty, see {self.prog} --help")
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            name = action.option_strings[0] if action.option_strings else str(action.metavar)
            raise InputError(self.prog, name, repr(arg_string), NOUNS.get(action.type, "another value")) from None


def _missing(verb: str, name: str, count: str) -> InputError:
    return InputError(verb, name, f"nothing: missing argument {name}", f"{count}, see {verb} --help")
