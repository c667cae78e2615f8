"""The exported creature in a real browser: it grows, is cut with the mouse and heals, with the network off and no error."""

from pathlib import Path

import numpy as np
import pytest
import torch
from floats import PASS_FLOATS, as_floats

import nca3d
from nca3d import cli
from nca3d.fire import fire_mask
from nca3d.live.page import ENGINE, live_page, script
from nca3d.rules import ConvRule
from visualize.render import view
from visualize.viewer import source

# They open real files in a real browser.
pytestmark = pytest.mark.slow

SEED = 7


@pytest.fixture(scope="module")
def axolotl(tmp_path_factory):
    file = tmp_path_factory.mktemp("live") / "creature.html"
    assert cli.main(["export", "zoo:axolotl", "--live", str(file), "--random-seed", str(SEED)]) == 0
    return file


def opened(page_of, file, **options):
    page = page_of(file, **options)
    page.wait_for_function("globalThis.creature !== undefined", timeout=20_000)
    page.evaluate("creature.ready")
    page.evaluate(f"() => {{ {PASS_FLOATS} }}")
    return page


def status(page):
    return page.evaluate("creature.status()")


def wait_for(page, condition, seconds=60):
    page.wait_for_function(f"creature.last && ({condition})", timeout=1000 * seconds)


def test_cut_with_the_mouse_it_heals(page_of, axolotl):
    """The promise of the page: click a hole into a trained creature and watch it close."""
    page = opened(page_of, axolotl)
    wait_for(page, "creature.last.iou > 0.95")
    page.keyboard.press("Space")
    assert not page.evaluate("creature.view.moving")
    for _ in range(8):
        page.keyboard.press("]")  # a wide brush
    x, y = page.evaluate("creature.view.project([7, 9, 5])")
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    page.wait_for_function("creature.last.iou < 0.9", timeout=20_000)
    hurt = status(page)
    assert hurt["living"] < 290
    page.keyboard.press("Space")
    wait_for(page, f"creature.last.iou >= 0.9 && creature.last.step > {hurt['step']}")
    assert "IoU" in page.inner_text(".read")


def test_keys_cut_in_half_seed_and_stop(page_of, axolotl):
    page = opened(page_of, axolotl)
    wait_for(page, "creature.last.iou > 0.95")
    page.keyboard.press("Space")
    before = status(page)
    for key, side in [("z", None), ("Shift+Z", None), ("h", None), ("r", None)]:
        page.evaluate("creature.run(40)")
        whole = status(page)
        page.keyboard.press(key)
        page.wait_for_function("(n) => creature.status().then((now) => now.living < 0.9 * n)", arg=whole["living"])
        assert side is None and status(page)["step"] == whole["step"]  # a cut takes no time
    page.keyboard.press("s")
    page.wait_for_function("creature.status().then((now) => now.living === 1)")
    page.keyboard.press(".")
    page.wait_for_function("creature.status().then((now) => now.living > 1)")
    assert status(page)["step"] == before["step"] + 4 * 40 + 1


def test_steps_and_fire_masks_are_those_of_python(page_of, axolotl):
    """Law 5 through the page's own door."""
    rule = nca3d.load("zoo:axolotl")
    size = tuple(rule.card["size"])
    page = opened(page_of, axolotl)
    page.evaluate("creature.play(false)")
    page.evaluate("creature.seed()")
    first = status(page)["step"]
    page.evaluate("creature.run(16)")
    found = torch.from_numpy(as_floats(page.evaluate("creature.state().then(coded)"))).view(rule.channels, *size)
    with torch.no_grad():
        wanted = nca3d.rollout(rule, nca3d.seed_state(rule, size), 16, random_seed=SEED, first_step=first)[0]
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    fires = page.evaluate("creature.fires(123).then((mask) => Array.from(mask))")
    assert np.array_equal(np.array(fires, bool), fire_mask(SEED, 123, [0], size, rule.fire_rate).flatten().numpy())


def test_restore_goes_on_from_any_state(page_of, axolotl):
    page = opened(page_of, axolotl)
    page.evaluate("creature.play(false)")
    page.evaluate("creature.run(30)")
    again = page.evaluate(
        """async () => {
          const state = await creature.state(), { step } = await creature.status();
          await creature.run(5);
          const one = coded(await creature.state());
          await creature.restore({ state, step });
          await creature.run(5);
          return one === coded(await creature.state());
        }"""
    )
    assert again


def test_dragging_beside_the_body_turns_it(page_of, axolotl):
    page = opened(page_of, axolotl)
    azimuth = page.evaluate("creature.view.azimuth")
    page.mouse.move(600, 120)
    page.mouse.down()
    page.mouse.move(560, 140, steps=3)
    page.mouse.up()
    assert page.evaluate("creature.view.azimuth") != azimuth
    page.mouse.wheel(0, -300)
    page.wait_for_function("creature.view.zoom > 1.1")


def test_hovering_shows_the_brush(page_of, axolotl):
    page = opened(page_of, axolotl)
    wait_for(page, "creature.last.iou > 0.9")
    page.keyboard.press("Space")
    x, y = page.evaluate("creature.view.project([7, 9, 5])")
    page.mouse.move(x, y)
    page.wait_for_function("creature.view.brush[3] > 0")
    page.wait_for_function("!creature.view.busy && creature.view.fine")
    orange = marked(page)
    page.mouse.move(20, 200)
    page.wait_for_function("creature.view.brush[3] === 0 && !creature.view.busy && creature.view.fine")
    assert orange > marked(page) + 50


def marked(page) -> int:
    """Pixels of the canvas that are vermillion."""
    return page.evaluate(
        """() => {
          const gl = creature.view.gl, { width, height } = creature.view.canvas, pixels = new Uint8Array(4 * width * height);
          gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
          let count = 0;
          for (let i = 0; i < pixels.length; i += 4) count += pixels[i] > 150 && pixels[i + 1] > 60 && pixels[i + 1] < 140 && pixels[i + 2] < 70;
          return count;
        }"""  # noqa: E501
    )


def test_classes_have_a_legend(page_of, tmp_path):
    rule = nca3d.load("zoo:frog")
    target = rule.target()
    page = opened(page_of, live_page(rule, tmp_path / "frog.html", target.size, target), color_scheme="dark")
    wait_for(page, "creature.last.iou > 0.5")
    assert page.locator(".legend li").count() == 15 and "heart" in page.text_content(".legend")
    assert page.get_attribute("#page", "data-theme") == "dark"
    page.keyboard.press("l")
    assert page.get_attribute("#page", "data-theme") == "light"


def test_any_rule_and_lattice_without_a_target(page_of, tmp_path):
    rule = ConvRule(channels=9, hidden=(8, 5), perception="learned", visible=4, visible_kind="classes", padding="circular")
    with torch.no_grad():
        rule.network[-1].weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
        rule.network[-1].weight[rule.alpha].abs_()
    page = opened(page_of, live_page(rule, tmp_path / "own.html", (5, 21, 3)))
    wait_for(page, "creature.last.step > 3")
    assert "IoU" not in page.inner_text(".read") and page.locator(".chart").count() == 0


def test_a_dead_body_is_an_empty_stage(page_of, axolotl):
    page = opened(page_of, axolotl)
    page.evaluate("creature.cut({ kind: 'ball', centre: [7, 9, 5], radius: 99 })")
    wait_for(page, "creature.last.living === 0")
    page.wait_for_timeout(300)
    assert status(page)["living"] == 0 and page.evaluate("creature.view.pick(320, 200)") is None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["zoo:axolotl"], "file: found nothing, allowed --live FILE.html"),
        (["zoo:axolotl", "--live", "creature.txt"], "--live: path: found suffix '.txt', allowed .html"),
        (["zoo:axolotl", "--live", "no/creature.html"], "found missing folder no, allowed an existing folder"),
        (["zoo:axolotl", "body.obj"], "found suffix '.obj', allowed .pvd"),
        (["zoo:axolotl", "body.npz", "--damage", "9:hole"], "name: found 'hole', allowed sphere"),
        (["zoo:axolotl", "body.npz", "--damage", "soon"], "script: found 'soon', allowed STEP:NAME"),
        (["zoo:axolotl", "body.npz", "--steps", "9", "--damage", "30:sphere"], "step: found 30, allowed 0 .. 9"),
        (["zoo:axolotl", "body.npz", "--damage", "3:sphere:0.5:+x"], "direction: found '+x'"),
        (["zoo:axolotl", "body.npz", "--every", "0"], "number: found 0, allowed 1 or more"),
        (["zoo:axolotl", "--live", "a.html", "--movie", "a.html"], "allowed another name for each file"),
        (["zoo:axolotl", "--live", "a.html", "a.npz", "--steps", "8", "--damage", "99:sphere"], "found 99, allowed 0 .. 8"),
        (["zoo:axolotl", "--live", "a.html", "--damage", "2:zork"], "--damage: damage: found with --live alone"),
        (["zoo:axolotl", "a.npz", "--steps", "1000000000000"], "found 1000000000000, allowed 1 .. 2**32 - 1"),
        (["zoo:axolotl", "body.npz", "--damage", "3:half_space:0.5:"], "direction: found ''"),
        (["zoo:axolotl", "--live", "a.html", "--random-seed", "4294967300"], "allowed 0 .. 2**32 - 1"),
        (["zoo:axolotl", "--live", "/proc/a.html"], "allowed a file that can be written"),
        (["zoo:axolotl", "a.npz", f"{'n' * 250}.npz"], "allowed a file that can be written"),
    ],
)
def test_bad_input_is_one_line(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *argv]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_store_belongs_is_told_before_it_is_filmed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli.export.LifeRequest, "of", lambda *_: pytest.fail("the life was looked for"))
    (tmp_path / "a.zarr").write_text("mine")
    assert cli.main(["export", "zoo:axolotl", str(tmp_path / "a.zarr")]) == 2
    assert "folder: found a file, allowed a folder of its own" in capsys.readouterr().err


def test_the_page_in_docs_lives(page_of):
    file = Path(__file__).parents[2] / "docs" / "live.html"
    parts = [script(name) for name in (*ENGINE, "worker.js", "page.js")]
    parts += [source(name) for name in ("whole.js", "volume.js", "parts.js", "creature.js", "body.glsl", "style.css")]
    assert all(part in file.read_text() for part in parts), "made anew by: nca3d export zoo:axolotl --live docs/live.html"
    page = opened(page_of, file)
    wait_for(page, "creature.last.iou > 0.95")
    page.keyboard.press("h")
    page.wait_for_function("creature.last.iou < 0.9", timeout=20_000)
    wait_for(page, "creature.last.iou >= 0.9")


def test_files_for_other_tools_come_from_one_command(tmp_path, capsys):
    pytest.importorskip("trimesh")
    files = [str(tmp_path / name) for name in ("body.glb", "life.vox", "life.npz")]
    argv = ["export", "zoo:frog", *files, "--steps", "20", "--every", "10", "--damage", "10:sphere:0.3"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.split() == files
    life = np.load(files[-1])
    assert life["steps"].tolist() == [0, 10, 10.5, 20] and life["frames"].shape == (4, 14, 31, 32, 4)
    assert life["labels"].max() > 1


@pytest.mark.parametrize(("width", "word", "rows"), [(1280, "Click", 1), (390, "Tap", 2)])
def test_the_page_says_once_how_to_cut_and_the_bar_fills_the_width(page_of, axolotl, width, word, rows):
    phone = {"is_mobile": True, "has_touch": True} if word == "Tap" else {}
    page = opened(page_of, axolotl, viewport={"width": width, "height": 700}, **phone)
    hint = page.locator(".hint")
    assert hint.inner_text() == f"{word} the body to cut it: what is orange goes." and hint.is_visible()
    parts = [part.bounding_box() for part in page.locator("footer > *").all()]
    lines = {round(box["y"] + box["height"] / 2) // 12 for box in parts}
    bar = page.locator("footer").bounding_box()
    assert len(lines) == rows and bar["width"] == width - 24
    assert max(box["x"] + box["width"] for box in parts) > bar["x"] + bar["width"] - 14
    page.keyboard.press("h")
    wait_for(page, "document.querySelector('.hint').style.visibility === 'hidden'")
    assert not hint.is_visible()


def test_without_webgl_the_page_says_so_and_lives_on(page_of, axolotl, browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.add_init_script(
        "HTMLCanvasElement.prototype.getContext = ((own) => function (kind, ...rest) {"
        "return kind === 'webgl2' ? null : own.call(this, kind, ...rest); })(HTMLCanvasElement.prototype.getContext)"
    )
    page.goto(f"file://{axolotl}")
    page.wait_for_function("globalThis.creature?.last?.iou > 0.9", timeout=20_000)
    assert "WebGL2" in page.inner_text(".trouble") and not troubles
    context.close()


def pointer(page, kind, identity, x, y):
    """One event of a finger, as the browser would send it."""
    page.evaluate(
        """([kind, id, x, y]) => creature.view.canvas.dispatchEvent(new PointerEvent(kind, { pointerId: id,
          pointerType: "touch", clientX: x, clientY: y, button: 0, bubbles: true }))""",
        [kind, identity, x, y],
    )


def paused(page_of, file):
    page = opened(page_of, file)
    wait_for(page, "creature.last.iou > 0.95")
    page.keyboard.press("Space")
    page.evaluate("creature.view.canvas.setPointerCapture = () => {}")
    return page, *page.evaluate("creature.view.project([7, 9, 5])")


def test_two_fingers_zoom_and_turn_without_a_wound(page_of, axolotl):
    page, x, y = paused(page_of, axolotl)
    before, azimuth = status(page)["living"], page.evaluate("creature.view.azimuth")
    pointer(page, "pointerdown", 11, x, y)
    pointer(page, "pointerdown", 12, x + 40, y)
    pointer(page, "pointermove", 12, x + 120, y)
    pointer(page, "pointerup", 11, x, y)
    pointer(page, "pointerup", 12, x + 120, y)
    assert page.evaluate("creature.view.zoom") > 1.5 and page.evaluate("creature.view.azimuth") != azimuth
    assert status(page)["living"] == before
    x, y = page.evaluate("creature.view.project([7, 9, 5])")
    pointer(page, "pointerdown", 13, x, y)
    pointer(page, "pointerup", 13, x, y)  # a tap
    page.wait_for_function("(n) => creature.status().then((now) => now.living < n)", arg=before)


def test_a_quick_drag_leaves_no_gaps(page_of, axolotl):
    page, x, y = paused(page_of, axolotl)
    lost = []
    for moves in (1, 30):
        page.evaluate("creature.run(80)")
        page.wait_for_function("creature.last.iou > 0.95")
        whole = status(page)["living"]
        page.mouse.move(x - 120, y)
        page.mouse.move(x - 60, y)
        page.mouse.down()
        page.mouse.move(x + 60, y, steps=moves)
        page.mouse.up()
        lost.append(whole - status(page)["living"])
    assert lost[0] > 0.7 * lost[1] > 0


def test_the_keyboard_turns_zooms_and_cuts(page_of, axolotl):
    page, _, _ = paused(page_of, axolotl)
    azimuth, living = page.evaluate("creature.view.azimuth"), status(page)["living"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageDown")
    assert page.evaluate("creature.view.azimuth") == azimuth + 6 and page.evaluate("creature.view.zoom") < 1
    page.keyboard.press("Enter")
    page.wait_for_function("(n) => creature.status().then((now) => now.living < n)", arg=living)
    page.keyboard.press("?")
    hurt = status(page)["living"]
    page.keyboard.press("h")  # behind the help nothing is cut
    page.keyboard.press("Escape")
    assert status(page)["living"] == hurt


def test_what_the_worker_refuses_is_told(page_of, axolotl):
    page = opened(page_of, axolotl)
    refused = page.evaluate("creature.restore({ state: new Float32Array(3) }).then(() => 'taken', (error) => error.message)")
    assert "found 3 numbers, allowed" in refused
    assert status(page)["living"] > 0


def test_a_diverged_body_is_told_and_a_lost_picture_comes_back(page_of, axolotl):
    page, _, _ = paused(page_of, axolotl)
    page.evaluate("creature.state().then((state) => creature.restore({ state: state.fill(NaN, 0, 4 * 2520) }))")
    page.wait_for_function("document.querySelector('.read').textContent.includes('not a number')")
    page.evaluate("creature.seed()")
    page.evaluate("globalThis.lose = creature.view.gl.getExtension('WEBGL_lose_context'); lose.loseContext()")
    page.wait_for_function("document.querySelector('.trouble')?.textContent.includes('graphics card')")
    page.evaluate("lose.restoreContext()")
    page.wait_for_function("!document.querySelector('.trouble')")


def test_a_flat_body_is_seen_as_in_pictures_and_cut_in_its_plane(page_of, tmp_path):
    """The eye begins where `visualize.volume` has it, and no cut goes across the one layer: it would take all or nothing."""
    page = page_of("about:blank")
    page.add_script_tag(content=source("volume.js"))
    for size in [(1, 9, 8), (8, 1, 9), (8, 9, 1), (1, 1, 9), (1, 9, 1), (9, 1, 1), (1, 1, 1), (5, 6, 7)]:
        assert page.evaluate("eyeOf", list(size)) == list(view(size))
    rule = ConvRule(channels=6, hidden=(4,))
    page = opened(page_of, live_page(rule, tmp_path / "flat.html", (1, 5, 5)))
    page.keyboard.press("Space")
    page.evaluate("creature.state().then((state) => creature.restore({ state: state.fill(1) }))")
    before = status(page)["living"]
    page.keyboard.press("z")
    assert status(page)["living"] == before
    for _ in range(3):
        page.keyboard.press("h")
    assert 0 < status(page)["living"] < before


@pytest.mark.parametrize("options", [{"step_size": float("nan")}, {"alive_threshold": float("inf")}])
def test_rules_that_are_no_numbers_are_refused(options):
    with pytest.raises(ValueError, match=r"found (nan|inf), allowed"):
        ConvRule(channels=8, hidden=(8,), **options)


def test_a_target_of_fewer_classes_is_refused(tmp_path):
    target = nca3d.load("zoo:frog").target()
    rule = ConvRule(channels=40, visible=24, visible_kind="classes")
    with pytest.raises(nca3d.InputError, match="target"):
        live_page(rule, tmp_path / "a.html", target.size, target)


def test_a_dead_body_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dead.py").write_text(
        "import nca3d, torch\n"
        "dead = nca3d.ConvRule(channels=8, hidden=(4,), fire_rate=1.0)\n"
        "for part, value in ((dead.network[0].weight, 0.0), (dead.network[0].bias, 1.0), (dead.network[-1].weight, -1.0)):\n"
        "    torch.nn.init.constant_(part, value)\n"
    )
    argv = ["export", "dead.py:dead", "a.npz", "b.glb", "--target", "torus", "--size", "8", "8", "8", "--steps", "20"]
    assert cli.main(argv) == 2
    assert "allowed a body that lives" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []
