"""The body in Jupyter: driven as the browser would, then by a real browser in a real JupyterLab."""

import json
import os
import re
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nca3d
from nca3d.live.creature import Creature
from nca3d.rules import ConvRule

# They open real files in a real browser.
pytestmark = pytest.mark.slow

pytest.importorskip("anywidget")
TimeoutError = pytest.importorskip("playwright.sync_api").TimeoutError
ROOT = Path(__file__).parents[2]


class Page:
    """What the browser would send, and what it would be sent."""

    def __init__(self, widget):
        self.widget, self.sent = widget, []
        widget.send = lambda content, buffers: self.sent.append((content["frame"], buffers[0]))

    def ask(self, call, given=None):
        self.widget._receive(self.widget, {"call": call, "with": given}, [])
        return self.sent[-1]


@pytest.fixture
def page():
    return Page(nca3d.live(nca3d.load("zoo:axolotl"), random_seed=3))


def test_it_grows_is_cut_and_heals(page):
    first, picture = page.ask("look")
    assert first == {"step": 0, "living": 1, "iou": 0.0} or first["living"] == 1
    for _ in range(12):
        frame, picture = page.ask("steps", 8)
    assert frame["iou"] > 0.95 and 0 < frame["step"] <= 96
    assert np.frombuffer(picture, np.uint8).reshape(10, 18, 14, 4)[..., 3].astype(bool).sum() == frame["living"]
    hurt, _ = page.ask("cut", {"kind": "half", "axis": 1, "side": -1})
    assert hurt["iou"] < 0.7 and hurt["step"] == frame["step"]
    for _ in range(30):
        healed, _ = page.ask("steps", 8)
    assert healed["iou"] >= 0.9
    again, _ = page.ask("seed")
    assert again["living"] == 1


def test_the_widget_carries_the_whole_viewer(page):
    widget = page.widget
    assert "class VolumeView" in widget._esm and "export default { render }" in widget._esm and ".nca3d" in widget._css
    assert widget.about["size"] == [10, 18, 14] and widget.about["title"] == "axolotl"
    json.dumps(widget.about)
    bundle, _ = widget._repr_mimebundle_()
    assert widget.creature.step_number == 0  # the body itself has not grown for its picture
    with Image.open(BytesIO(bundle["image/png"])) as picture:  # a still, where nothing is live
        assert len(bundle["image/png"]) < 16_000 and picture.size == (320, 320)
        assert (np.asarray(picture.convert("HSV"))[..., 1] > 100).mean() > 0.05  # of the grown body, not of its first cell
    widget.creature.cut({"kind": "half", "axis": 1, "side": 1})
    widget.creature.step()
    widget._repr_mimebundle_()
    assert widget.still["step"] == 1  # a body that has lived is shown as it is


def test_a_saved_widget_shows_its_still_where_no_kernel_runs(page, page_of, tmp_path):
    widget = page.widget
    widget._repr_mimebundle_()
    state = json.dumps({name: getattr(widget, name) for name in ("about", "height", "still")}).replace("<", "\\u003c")
    script = widget._esm.replace("export default { render };", "").replace("SILENCE = 3000", "SILENCE = 50")
    file = tmp_path / "saved.html"
    file.write_text(
        f"<!doctype html><meta charset='utf-8'><style>{widget._css}</style><body><script type='module'>{script}\n"
        f"const state = {state};\n"
        "render({ el: document.body, model: { get: (name) => state[name], send() {}, on() {}, off() {} } });</script>"
    )
    shown = page_of(file)
    shown.wait_for_function("document.querySelector('.read').textContent.startsWith('step 46')")
    assert shown.inner_text(".read") == "step 46 · a still: no kernel is running"
    assert not shown.locator("footer").is_visible() and not shown.locator(".hint").is_visible()


def test_any_rule_lives_even_one_that_a_page_cannot_run():
    class Smooth(ConvRule):
        def update(self, perception):
            return self.network(torch.tanh(perception))

    page = Page(nca3d.live(Smooth(channels=8, hidden=(6,)), (5, 6, 7)))
    frame, _ = page.ask("steps", 2)
    assert frame["step"] == 2 and frame["iou"] is None
    with pytest.raises(nca3d.InputError, match="size"):
        nca3d.live(Smooth(channels=8, hidden=(6,)))


@pytest.mark.parametrize(
    ("wound", "gone"),
    [
        ({"kind": "ball", "centre": [2, 3, 1], "radius": 1}, lambda x, y, z: (x - 2) ** 2 + (y - 3) ** 2 + (z - 1) ** 2 <= 1),
        ({"kind": "half", "axis": 0, "side": 1}, lambda x, y, z: x >= 2),
        ({"kind": "half", "axis": 2, "side": -1}, lambda x, y, z: z < 1),
    ],
)
def test_wounds_are_where_they_should_be(wound, gone):
    creature = Creature(ConvRule(channels=6, hidden=(4,)), (3, 6, 5))
    creature.state = torch.ones_like(creature.state)
    z, y, x = np.indices((3, 6, 5))
    expected = gone(x, y, z)
    assert creature.cut(wound) == expected.sum()
    assert np.array_equal((creature.state[0] == 0).all(dim=0).numpy(), expected)
    with pytest.raises(nca3d.InputError, match="kind"):
        creature.cut({"kind": "bite"})


def test_the_target_must_fit():
    rule = nca3d.load("zoo:axolotl")
    with pytest.raises(nca3d.InputError, match="target"):
        nca3d.live(rule, (10, 18, 15), rule.target())


NOTEBOOK = """
import nca3d
widget = nca3d.live(nca3d.load("zoo:axolotl"), height=300)
widget
"""


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own, with one notebook; gives its address."""
    pytest.importorskip("jupyterlab")
    import nbformat

    cells = [nbformat.v4.new_code_cell(NOTEBOOK.strip()), nbformat.v4.new_code_cell("print('told', widget.creature.status())")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "live.ipynb")
    folders = {name: str(tmp_path / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=0",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **folders, "PYTHONPATH": str(ROOT)})
    try:
        for _ in range(120):
            time.sleep(0.5)
            found = re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/lab", (tmp_path / "lab.log").read_text())
            if found:
                yield f"http://127.0.0.1:{found[1]}/lab/tree/live.ipynb"
                break
        else:
            pytest.fail((tmp_path / "lab.log").read_text()[-2000:])
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@pytest.mark.slow
def test_in_jupyterlab_a_click_wounds_the_body_in_python(lab, browser):
    page = browser.new_context(viewport={"width": 1000, "height": 800}).new_page()
    # On a busy machine JupyterLab asks for a kernel, or says that it waits for one: its own choice will do.
    page.add_locator_handler(page.locator(".jp-Dialog"), lambda: page.locator(".jp-Dialog .jp-mod-accept").first.click())
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook-cell", timeout=90_000)
    for _ in range(5):  # a cell that is run before the kernel has begun may be forgotten
        page.locator(".jp-Notebook-cell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_selector(".nca3d .read", timeout=30_000)
            break
        except TimeoutError:
            continue

    def number(pattern: str) -> float:
        found = re.search(pattern, page.locator(".nca3d .read").first.inner_text().replace(",", ""))
        return float(found[1]) if found else -1.0

    page.wait_for_selector(".nca3d .read")

    def wait(condition, seconds=90):
        for _ in range(10 * seconds):
            if condition():
                return
            page.wait_for_timeout(100)
        raise AssertionError(page.locator(".nca3d .read").first.inner_text())

    wait(lambda: number(r"IoU ([\d.]+)") > 0.9)
    page.locator(".nca3d footer button").first.click()  # pause
    page.wait_for_timeout(500)
    whole = number(r"([\d.]+) living")
    box = page.locator(".nca3d > canvas").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 0.42 * box["height"])
    wait(lambda: number(r"([\d.]+) living") < whole)
    page.locator(".nca3d footer button").first.click()
    wait(lambda: number(r"IoU ([\d.]+)") > 0.9)
    page.locator(".jp-Notebook-cell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("text=/told .*iou/", timeout=30_000)
