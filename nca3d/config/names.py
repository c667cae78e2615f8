"""The names that rules, losses and damages are registered by here, for who must not load torch to know that one is misspelled.

The registries themselves have the last word: plug-ins add to them (`Config.require_known`).
"""

import sys
from typing import TYPE_CHECKING

from nca3d.errors import ErrorCollector
from nca3d.registry import wing_entries

if TYPE_CHECKING:
    from nca3d.config.record import Config

# A test compares them with the registries.
OWN = {
    "rule": ("coded", "conditional", "conv"),
    "losses": ("classes", "classes_even", "first_cell", "front", "occupancy", "overflow", "rest", "rgba", "still"),
    "damages": ("box", "cube", "half_space", "limb", "random_cells", "shell", "slab", "sphere"),
}
# What wings call what they add to them.
OF_WINGS = {"rule": "rule", "losses": "loss", "damages": "damage"}


def check_names(config: "Config") -> None:
    """Checks the names in a config, as long as nothing can have been registered: no plug-in is named and torch isn't loaded.

    Raises:
        InputErrors: names that nobody has registered, all at once.
    """
    if config.plugins or "torch" in sys.modules:
        return
    with ErrorCollector() as errors:
        for field, names in OWN.items():
            errors.of(config.require_known, field, {*names, *wing_entries(OF_WINGS[field])})
