"""The record of one experiment: which fields there are, what they may hold, how a TOML file is read.

Start with `fields.py` (the fields) and `record.py` (`Config`). `regimes.py` says what each regime asks of a config, `schema.py`
what a field may hold, and `shipped.py` reads files. The shipped configs are here too, one TOML file each. The package imports
`errors`, `registry`, `files` and the standard library only: a bad config is refused before anything heavy loads.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nca3d.config.record import FIELDS, Config

__all__ = ["FIELDS", "Config"]


def __getattr__(name: str) -> object:
    """Imports the record when it is first used: a wing makes its fields from `schema.py` before the record can hold them."""
    if name not in __all__:
        raise AttributeError(f"module 'nca3d.config' has no attribute {name!r}")
    from nca3d.config import record

    value: object = getattr(record, name)
    return value
