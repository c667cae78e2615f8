"""Files, the one way: written whole or not at all, locked, read, known by their digests; through no link, into no pipe.

A file here is one idea. May import `errors` alone, and the standard library; what else is needed is imported inside functions.
"""

from nca3d.files.atomic import atomic_folder, is_running, move_folder, remove_folder, sweep, write_atomic
from nca3d.files.lock import locked, refuse_locked
from nca3d.files.place import KEPT_SEVERAL, KEPT_TARGET, names_path, odd, open_own, refuse_odd, unwritable, vacate
from nca3d.files.read import load_tensors, parse_table, read_file
from nca3d.files.record import file_entry, read_sealed, read_verified, seal, sha256
from nca3d.files.user_folders import cache_folder, private_folder, state_folder

__all__ = [
    "KEPT_SEVERAL",
    "KEPT_TARGET",
    "atomic_folder",
    "cache_folder",
    "file_entry",
    "is_running",
    "load_tensors",
    "locked",
    "move_folder",
    "names_path",
    "odd",
    "open_own",
    "parse_table",
    "private_folder",
    "read_file",
    "read_sealed",
    "read_verified",
    "refuse_locked",
    "refuse_odd",
    "remove_folder",
    "seal",
    "sha256",
    "state_folder",
    "sweep",
    "unwritable",
    "vacate",
    "write_atomic",
]
