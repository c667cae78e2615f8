"""One experiment as a record: which fields there are, what they may hold, how a TOML file is read.

Start with `record.py` (the fields); `schema.py` says what a field may hold, `shipped.py` reads files. Holds the shipped configs
too, one TOML file each. Imports `nca3d.errors`, `nca3d.files` and the standard library only.
"""

from nca3d.config.record import FIELDS, Config

__all__ = ["FIELDS", "Config"]
