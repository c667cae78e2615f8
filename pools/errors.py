"""What can't be drawn from, stored or hurt, told by its fields."""


class ArgumentError(ValueError):
    """An argument that can't be used, in one line: `where: field: found …, allowed …`.

    Args:
        where: the function that it was given to.
        field: the argument.
        found: what was given, as it is to be shown.
        allowed: what would do.
    """

    def __init__(self, where: str, field: str, found: object, allowed: str) -> None:
        self.where, self.field, self.found, self.allowed = where, field, found, allowed

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: found {self.found}, allowed {self.allowed}"
