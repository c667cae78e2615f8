"""One experiment as a record: which fields there are, what they may hold, how a TOML file is read.

Start with `fields.py` (what can be said) and `record.py` (`Config`); `regimes.py` says what each regime asks of a config,
`schema.py` what a field may hold, `shipped.py` reads files. The shipped configs lie here too, one TOML file each. Imports
`errors`, `registry`, `files` and the standard library only: a bad config is refused before anything heavy loads.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nca3d.config.record import FIELDS, Config

__all__ = ["FIELDS", "Config"]


def __getattr__(name: str) -> Any:
    """Late, so that a wing's fields can be made of `schema.py` before the record that holds them is."""
    if name not in __all__:
        raise AttributeError(f"module 'nca3d.config' has no attribute {name!r}")
    from nca3d.config import record

    return getattr(record, name)
