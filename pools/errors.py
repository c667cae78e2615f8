"""The error of this package: an argument that can't be used."""


class ArgumentError(ValueError):
    """An argument can't be used; the message is one line: `where: field: found …, allowed …`.

    Args:
        where: the function or class that was called.
        field: the argument's name.
        found: the argument's value, as the message shows it.
        allowed: the allowed values, in words.
    """

    def __init__(self, where: str, field: str, found: object, allowed: str) -> None:
        self.where, self.field, self.found, self.allowed = where, field, found, allowed

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: found {self.found}, allowed {self.allowed}"
