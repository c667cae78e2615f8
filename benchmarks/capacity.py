"""How many bodies can one rule grow? IoU against their number at fixed weights, and against weights at ten bodies.

    python benchmarks/capacity.py [--iterations 1000] [--bodies 1 2 5 10 20] [--hidden 16 32 64 128 256]

Every iteration takes two states of each body, so that each body is seen as often whatever their number; nothing else differs.
The bodies are those of `zoo:menagerie`, then solids, letters and what else is shipped, in colours on its lattice.
"""

import argparse
import time

import nca3d

SIZE = (12, 16, 14)
# Growth, a hold of a hundred steps, the three wounds.
SHORT = nca3d.evaluation.Preset(samples=4, hold_steps=100, late_steps=0)
# The ten of the menagerie, and ten more.
NAMES = (
    *("axolotl", "mushroom", "toucan", "ant", "snail", "penguin", "cactus", "fish", "turtle", "duck"),
    *("cross", "jack", "heart", "letter", "torus", "gyroid", "channels", "frog", "sphere", "coral"),
)


def grow(count: int, hidden: int, iterations: int, random_seed: int) -> str:
    """Trains one rule on the first bodies and returns a row: worst and mean IoU at the horizon, healed, weights, seconds."""
    bodies = NAMES[:count] if count > 1 else NAMES[0]
    config = nca3d.Config(
        target=bodies,
        size=SIZE,
        hidden=(hidden,),
        batch=2 * count,
        pool_size=max(64, 8 * count),
        iterations=iterations,
        stop_when_whole=False,
        steps=(16, 38),
        random_seed=random_seed,
        report=False,
        out=f"runs/capacity-{count}-{hidden}-{random_seed}",
    )
    begun = time.process_time()
    rule = nca3d.train(config).rule
    seconds = time.process_time() - begun
    report = nca3d.evaluate(rule, preset=SHORT)
    rows = list(report["bodies"].values()) if count > 1 else [dict(report)]
    grown = [row["grow_iou"] for row in rows]
    healed = [row["recovered"]["half_space"] for row in rows]
    weights = sum(parameter.numel() for parameter in rule.parameters())
    figures = (min(grown), sum(grown) / len(grown), sum(healed) / len(healed))
    return f"| {count} | {hidden} | {weights:,} | {' | '.join(f'{figure:.3f}' for figure in figures)} | {seconds / 60:.1f} |"


def main() -> None:
    """Prints both tables, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--bodies", type=int, nargs="*", default=[1, 2, 5, 10, 20])
    parser.add_argument("--hidden", type=int, nargs="*", default=[16, 32, 64, 128, 256])
    parser.add_argument("--random-seed", type=int, default=0)
    args = parser.parse_args()
    print("| bodies | units | weights | worst IoU | mean IoU | half cuts healed | CPU minutes |", flush=True)
    print("|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for count, hidden in [*((count, 176) for count in args.bodies), *((10, hidden) for hidden in args.hidden)]:
        print(grow(count, hidden, args.iterations, args.random_seed), flush=True)


if __name__ == "__main__":
    main()
