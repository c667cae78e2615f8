"""Draws docs/axolotl.webp, the README's moving picture, from the shipped rule: python docs/picture.py"""

from __future__ import annotations

from pathlib import Path

import torch

import nca3d
import pools
import visualize


@torch.no_grad()
def main() -> None:
    """Grow, rest, cut in half, heal, rest; one body, fire masks that training never used."""
    rule = nca3d.load("zoo:axolotl")
    size, horizon = rule.card["size"], rule.card["horizon"]
    grown = nca3d.rollout(rule, nca3d.seed_state(rule, size), horizon, random_seed=2026, record_every=2)
    held = nca3d.rollout(rule, grown.states[-1], 10, random_seed=2026, first_step=horizon, record_every=5)
    body = held.states[-1][:, rule.alpha] > 0.1
    mask = pools.damage.half_space(size, 1, severity=0.5, body=body, direction="-y")
    hurt = pools.damage.apply(held.states[-1], mask)
    healed = nca3d.rollout(rule, hurt, 90, random_seed=2026, first_step=horizon + 10, record_every=3)

    parts = [grown, held, healed]
    frames = nca3d.to_rgba(torch.cat([part.states[:, 0] for part in parts]), rule)
    steps = torch.cat([part.steps for part in parts]).tolist()
    cut = len(grown.steps) + len(held.steps)
    path = Path(__file__).with_name("axolotl.webp")
    visualize.animate(frames, path, fps=10, size=400, orbit=60, steps=steps, damage_at={cut: "cut"})
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {len(frames)} frames")


if __name__ == "__main__":
    main()
