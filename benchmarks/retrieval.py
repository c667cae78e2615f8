"""Is a cube better than a straight line, and than a network without cells? Top-1 retrieval on questions it was not trained on.

    python benchmarks/retrieval.py RUN [--epochs N] [--weights N] [--out FILE.md]

RUN is the folder of a cube (`nca3d train cube`). Beside it stand ridge regression and a plain network of as many weights (three
layers, GELU), trained on the same embeddings by the same loss, the same noise and as many looks at each question, all judged
among the same answers. Intervals are 95 % bootstrap intervals over questions.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

import nca3d
from nca3d.cube.answers import Judgement, judge, say
from nca3d.cube.lesson import EmbeddedQuestions, questions_of_run
from nca3d.cube.losses import TEMPERATURE
from nca3d.cube.ridge import fit_ridge
from nca3d.files import odd, write_atomic
from nca3d.fire import evaluation_seed
from nca3d.load import CONFIG, run_folder
from nca3d.reports.values import bootstrap

BATCH = 32


def network(pixels: int, weights: int) -> nn.Module:
    """Three layers with about so many weights: 2 · pixels · h + h²."""
    hidden = round(math.sqrt(pixels**2 + weights) - pixels)
    return nn.Sequential(nn.Linear(pixels, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, pixels))


def trained(
    model: nn.Module, embedded: EmbeddedQuestions, asked: Tensor, goals: Tensor, epochs: int, noise: float
) -> nn.Module:
    """The model after so many looks at each training question, by the loss that cubes are trained with."""
    train, unit = embedded.of("train"), F.normalize(goals, dim=1)
    spread = asked[train].std(dim=0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 / math.sqrt(model[2].in_features / 512), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(train) / BATCH))
    for _ in tqdm(range(epochs), desc="network", unit="epoch"):
        for ids in train[torch.randperm(len(train), generator=generator)].split(BATCH):
            x = asked[ids] + noise * spread * torch.randn(asked[ids].shape, generator=generator)
            alike = F.normalize(model(x), dim=1) @ unit.T
            right = embedded.answer_index[ids]
            loss = 1 - alike.gather(1, right[:, None]).mean() + F.cross_entropy(alike / TEMPERATURE, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def line(name: str, judged: dict[str, Judgement]) -> str:
    """A row of the table."""
    cells = []
    for found in judged.values():
        low, high = bootstrap(found.top1.float().tolist()) or (math.nan, math.nan)
        means = found.figures()
        cells.append(f"{means['top1']:.3f} ({low:.3f} – {high:.3f}) | {means['top5']:.3f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int, help="of the network; default as many as the cube had")
    parser.add_argument("--weights", type=int, help="of the network; default as many as the cube")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.out and odd(args.out):
        parser.error(f"--out: found {args.out}, which is {odd(args.out)}, allowed a file name")
    try:
        rule, embedded = nca3d.load(args.run), questions_of_run(args.run)
    except nca3d.InputError as error:
        raise SystemExit(str(error)) from None
    with torch.no_grad():
        goals, asked = rule.goal(embedded.answer_embeddings), rule.surface.asked(embedded.question_embeddings)
    splits = {split: embedded.of(split) for split in ("test", "compose") if len(embedded.of(split))}
    weights = args.weights or sum(p.numel() for p in rule.parameters())
    config = nca3d.Config.load(run_folder(args.run) / CONFIG)
    epochs = args.epochs or math.ceil(config.iterations * config.batch / len(embedded.of("train")))

    def judged(answer, among: Tensor = goals) -> dict[str, Judgement]:
        with torch.no_grad():
            return {name: judge(answer(pairs), among, embedded.answer_index[pairs]) for name, pairs in splits.items()}

    train = embedded.of("train")
    straight = fit_ridge(embedded.question_embeddings[train], goals[embedded.answer_index[train]])
    plain = fit_ridge(embedded.question_embeddings[train], embedded.answer_embeddings[embedded.answer_index[train]])
    seed = evaluation_seed(0, 0)
    rows = [
        line("ridge regression to the cube's surfaces", judged(lambda pairs: straight(embedded.question_embeddings[pairs]))),
        line(
            "ridge regression to the teacher's embeddings",
            judged(lambda pairs: plain(embedded.question_embeddings[pairs]), embedded.answer_embeddings),
        ),
    ]
    cube = judged(lambda pairs: say(rule, embedded.question_embeddings[pairs], rule.card["horizon"], random_seed=seed)[0])
    rows.append(line(f"cube, {sum(p.numel() for p in rule.parameters()):,} weights", cube))
    started = time.perf_counter()
    model = trained(network(goals.shape[1], weights), embedded, asked, goals, epochs, config.question_noise)
    size = sum(p.numel() for p in model.parameters())
    rows.append(line(f"network, {size:,} weights, {epochs} epochs", judged(lambda pairs: model(asked[pairs]))))
    head = "| | " + " | ".join(f"{name}: top-1 (95 %) | top-5" for name in splits) + " |"
    rule_line = "|---|" + "---|--:|" * len(splits)
    table = "\n".join([head, rule_line, *rows])
    print(table)
    print(
        f"\n{len(goals)} answers; {', '.join(f'{len(p)} questions of {n}' for n, p in splits.items())}; "
        f"teacher {embedded.teacher.id}; the network took {time.perf_counter() - started:.0f} s"
    )
    if args.out:
        write_atomic(args.out, (table + "\n").encode())


if __name__ == "__main__":
    main()
