"""What is different in a run that goes on with another config, in one line for each field."""

from collections.abc import Iterator

from nca3d.config import FIELDS, Config
from nca3d.schema.spec import toml

# What a new value means for a run that is under way.
FROM_NOW_ON = "from now on"
SHARES = (
    "schedule, curriculum, damage_from and healing_phase are shares of it, so what follows is not bit for bit a run of {new} "
    "from the start"
)
ROUNDING = "the same but for rounding"
NOTES = {
    "iterations": SHARES,
    "learning_rate": "the rate from now on",
    "schedule": FROM_NOW_ON,
    "warmup": FROM_NOW_ON,
    "final_learning_rate": FROM_NOW_ON,
    "milestones": FROM_NOW_ON,
    "random_seed": "other draws from now on",
    "executor": ROUNDING,
    "compile": ROUNDING,
    "optimizer_in_backward": ROUNDING,
    "device": ROUNDING,
    "threads": ROUNDING,
    "accumulate": ROUNDING,
    "init": "a resumed run goes on from its own weights",
}


def changes(before: Config, now: Config) -> list[str]:
    """Returns what differs, a line for each field under a line that says whether it changes the run; [] if nothing does.

    Args:
        before: what the checkpoint was trained with.
        now: what it goes on with.
    """
    lines = []
    for title, changing in (("changes the run:", True), ("changes nothing:", False)):
        found = [line for name, line in _different(before, now) if FIELDS[name].changes_run is changing]
        lines += [title, *found] if found else []
    return lines


def _different(before: Config, now: Config) -> Iterator[tuple[str, str]]:
    for name in FIELDS:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            note = NOTES.get(name, "").format(new=toml(new))
            yield name, f"  {name} was {toml(old)}, is {toml(new)}" + f": {note}" * bool(note)
