"""What pictures, films and pages cost: the figures that README and benchmarks/README.md give. Needs the extras viz and test.

    python benchmarks/pictures.py [--out FILE.json]

Films are of 48 frames at 480 px; steps a second are those of the exported page in headless Chromium, drawing as it goes.
"""

import argparse
import base64
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nca3d
import visualize
from nca3d.evaluation.story import Cut, tell
from nca3d.files import odd, write_atomic
from nca3d.live.page import live_page
from nca3d.rules import ConvRule
from visualize.viewer import movie

FRAMES, SECONDS = 48, 6
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


def ball(size: tuple[int, int, int], cells: int) -> np.ndarray:
    """The `cells` cells nearest the middle, bool (D, H, W)."""
    away = sum((axis - side / 2 + 0.5) ** 2 for axis, side in zip(np.indices(size), size, strict=True))
    inside = np.zeros(away.size, bool)
    inside[np.argsort(away, axis=None, kind="stable")[:cells]] = True
    return inside.reshape(size)


def life(name: str) -> tuple[np.ndarray, list[int]]:
    """48 frames of a zoo rule that grows and is cut in half at its horizon."""
    rule = nca3d.load(f"zoo:{name}")
    horizon = rule.card["horizon"]
    story = tell(rule, rule.target(), 46 * 2, [Cut(horizon, "half_space", 0.5)], every=2)
    return story.frames[:FRAMES], story.steps[:FRAMES]


def gyroid() -> np.ndarray:
    """48 frames of a 64³ gyroid that grows from the middle: about 16,000 cells at the end."""
    z, y, x = np.indices((64, 64, 64)) * (2 * np.pi / 32)
    field = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    reach = np.abs(np.indices((64, 64, 64)) - 31.5).max(axis=0)
    frames = np.zeros((FRAMES, 64, 64, 64, 4), np.float32)
    frames[..., :3] = np.stack([0.3 + x / 20, 0.3 + y / 20, 0.3 + z / 20], axis=-1)
    frames[..., 3] = np.stack([(np.abs(field) < 0.08) & (reach < 32 * (frame + 1) / FRAMES) for frame in range(FRAMES)])
    return frames


def animated(frames: np.ndarray, file: Path, **options: Any) -> float:
    """Seconds that a film takes."""
    start = time.perf_counter()
    visualize.animate(frames, file, orbit=90, **options)
    return time.perf_counter() - start


def films(folder: Path) -> Iterator[tuple[str, float, str]]:
    frames, steps = life("mushroom")
    for suffix in ("mp4", "gif", "webp"):
        file = folder / f"film.{suffix}"
        took = animated(frames, file, steps=steps)
        yield f"film 15×15×11 voxels, {suffix}", took, f"s, {file.stat().st_size / 1024:.0f} KiB"
    for style in ("surface", "activity"):
        yield f"film 15×15×11 {style}, mp4", animated(frames, folder / "film.mp4", style=style), "s"
    large = gyroid()
    took = animated(large, folder / "film.mp4", style="surface")
    yield f"film 64³ surface, mp4, {int(large[-1, ..., 3].sum())} cells", took, "s"
    yield "page of a film, 15×15×11", movie(frames, folder / "a.html", steps=steps).stat().st_size / 1000, "KB"
    yield "page of a film, 32³ (toucan)", movie(life("toucan")[0], folder / "b.html").stat().st_size / 1000, "KB"
    yield "page of a film, 64³ (gyroid)", movie(large, folder / "c.html").stat().st_size / 1000, "KB"


def pages(folder: Path) -> Iterator[tuple[str, float, str]]:
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for size, cells in [((15, 15, 11), 439), ((15, 15, 11), 2475), ((32, 32, 32), 3000), ((64, 64, 64), 7000)]:
            # A fresh rule changes nothing, so the body stays as large as it is; what a step costs is not in the weights.
            rule = ConvRule(fire_rate=0.5)
            page = chromium.new_page(viewport={"width": 900, "height": 640})
            page.goto(f"file://{live_page(rule, folder / 'live.html', size)}")
            page.wait_for_function("globalThis.creature !== undefined")
            state = np.where(ball(size, cells), np.float32(0.7), np.float32(0.0))
            text = base64.b64encode(np.repeat(state[None], rule.channels, axis=0).astype("<f4").tobytes()).decode()
            rate = page.evaluate(
                """async ([text, seconds]) => {
                  await creature.ready;
                  const state = new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
                  await creature.restore({ state });
                  await creature.speed(1e6);
                  const wait = (ms) => new Promise((go) => setTimeout(go, ms));
                  await wait(1000);
                  const before = (await creature.told()).step, drawn = creature.view.drawn, start = performance.now();
                  await wait(1000 * seconds);
                  const took = (performance.now() - start) / 1000;
                  return [((await creature.told()).step - before) / took, (creature.view.drawn - drawn) / took];
                }""",
                [text, SECONDS],
            )
            name = "×".join(map(str, size))
            yield f"live page {name}, {cells} living cells", rate[0], f"steps/s, {rate[1]:.0f} pictures/s drawn in software"
            page.close()
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    asked = parser.parse_args()
    if asked.out and odd(asked.out):
        parser.error(f"--out: found {asked.out}, which is {odd(asked.out)}, allowed a file name")
    rows = {}
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {time.strftime('%Y-%m-%d')}\n")
    print("| what | figure |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for part in (films, pages):
            for name, value, unit in part(Path(folder)):
                rows[name] = value
                print(f"| {name} | {value:.1f} {unit} |", flush=True)
    if asked.out:
        write_atomic(asked.out, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
