"""What can't be drawn or written, told by its fields."""


class ArgumentError(ValueError):
    """An argument that can't be used, in one line: `where: field: found …, allowed …`.

    Args:
        where: the function or flag that it was given to; "" = `field` says it too.
        field: the argument.
        found: what was given, as it is to be shown.
        allowed: what would do.
    """

    def __init__(self, where: str, field: str, found: object, allowed: str) -> None:
        self.where, self.field, self.found, self.allowed = where, field, found, allowed

    def __str__(self) -> str:
        # One line that can be read: a path may have 4,096 characters.
        found = str(self.found)
        found = found if len(found) <= 600 else f"{found[:300]}...{found[-297:]}"
        return f"{f'{self.where}: ' if self.where else ''}{self.field}: found {found}, allowed {self.allowed}"


class LossyWarning(UserWarning):
    """What a file can't hold as it was given, and what it holds instead, in one line."""
