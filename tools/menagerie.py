"""The README's picture of a rule of many bodies: python tools/menagerie.py docs/menagerie.webp [RULE].

Each body grows from one cell, then stands still for a moment; all on one clock.
"""

import sys

import numpy as np

import nca3d
import visualize

# Pixels of one body's side, frames a second, frames of growth and of standing still.
SIDE, FPS, GROWN, STILL = 140, 8, 14, 8


def main(path: str, name: str = "zoo:menagerie") -> None:
    """Films all bodies of a rule side by side as they grow."""
    rule = nca3d.load(name)
    horizon = rule.card["horizon"]
    films = {}
    for condition in rule.conditions:
        body = rule.bound(condition)
        life = nca3d.record(body, nca3d.seed_state(body), horizon, max(1, horizon // GROWN), random_seed=1 << 31)
        frames = life.numpy(body)
        films[condition] = np.concatenate([frames, np.repeat(frames[-1:], STILL, axis=0)])
        steps = [*life.steps.tolist(), *[horizon] * STILL]
    visualize.side_by_side(films, path, fps=FPS, size=SIDE, steps=steps, orbit=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
