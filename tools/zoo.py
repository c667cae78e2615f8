"""The zoo as the README shows it: python tools/zoo.py prints the table, and draws the picture at a path given."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

import nca3d
import visualize
from nca3d.files import write_atomic
from nca3d.reports.values import as_text

# Bodies beside each other in the picture.
ACROSS = 6


def row(name: str) -> str:
    """One rule's line: what it grows, and what its card says of it."""
    rule = nca3d.load(f"zoo:{name}")
    card = rule.card
    found = {**card["figures"], **card["standard"]}
    healed = found.get("regeneration", {})
    counts = [rule.target(one).cells for one in rule.conditions] or [rule.target().cells]
    several = f"{len(counts)} bodies of " if len(counts) > 1 else ""
    cells = [
        f"`zoo:{name}`",
        f"{several}{' – '.join(f'{count:,}' for count in sorted({min(counts), max(counts)}))} of "
        f"{' × '.join(map(str, card['size']))}",
        card["regime"],
        as_text(found["grow_iou"]),
        f"{found['steps_held']:,} of {found['steps_tried']:,}",
        as_text(healed.get("recovered_small", min(found["recovered"]["sphere"], found["recovered"]["random_cells"]))),
        as_text(healed.get("recovered_half_space", found["recovered"]["half_space"])),
        f"{life['worst_iou']:.3f} in {life['steps']:,}" if (life := card.get("life")) else "",
        f"{card['training']['seconds'] / 60:.0f} min",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """The whole table."""
    head = ("rule", "cells, lattice", "trained for", "grown", "steps held", "healed, up to 25 %", "healed, halves")
    head += ("worst IoU in a long life", "training")
    return "\n".join([f"| {' | '.join(head)} |", "|---|---|---|--:|--:|--:|--:|--:|--:|", *map(row, nca3d.zoo())])


@torch.no_grad()
def draw(path: str, side: int = 300) -> None:
    """All grown bodies, six beside each other."""
    from PIL import Image

    pictures = []
    for name in nca3d.zoo():
        rule = nca3d.load(f"zoo:{name}")
        card = rule.card
        # Those that only grow, and those of several bodies, have pictures of their own.
        if card["regime"] == "growing" or rule.conditions:
            continue
        grown = nca3d.rollout(rule, nca3d.seed_state(rule), 2 * card["horizon"], random_seed=1 << 31)
        picture = visualize.volume(nca3d.to_rgba(grown, rule, rule.target().palette)[0], size=(2 * side, 2 * side))
        pictures.append(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    stream, empty = BytesIO(), Image.new(pictures[0].mode, (side, side), "white")
    pictures += [empty] * (-len(pictures) % ACROSS)
    sheet = np.vstack([np.hstack(pictures[k : k + ACROSS]) for k in range(0, len(pictures), ACROSS)])
    Image.fromarray(sheet).save(stream, Image.registered_extensions()[Path(path).suffix.lower()], quality=90)
    write_atomic(Path(path), stream.getvalue())


if __name__ == "__main__":
    print(table())
    for picture in sys.argv[1:]:
        draw(picture)
