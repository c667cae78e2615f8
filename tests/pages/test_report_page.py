"""The page of a report in a real browser: on a light and a dark ground, on a desk and on a phone."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from nca3d.reports import pictures
from nca3d.reports.page import Section, Words, film_html, render_page
from nca3d.reports.report import Report
from visualize.charts import INK, new_figure

# They open real files in a real browser.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    chart = new_figure(9.2, 3)
    chart.text(0.5, 0.5, "ink", color=INK, fontsize=40)
    frames = np.zeros((6, 4, 4, 4, 4), np.float32)
    frames[:, 1:3, 1:3, 1:3] = (0.9, 0.2, 0.2, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCA3D_RENDERER", "raymarch")
        patch.setattr(pictures, "FRAME", 48)
        _, strip = pictures.Strip(frames, [f"+{step} steps" for step in range(6)]).drawn()
    shown = {"chart": pictures.Chart(pictures.png_of(chart)), "strip": strip}
    words = Words("a body", "it grew", [Section("All", "", [("chart", "a chart"), ("strip", "a strip")])], [], "")
    hero = film_html(pictures.data_url(pictures.png_of(chart)), "", chart=True)
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(Report({"grow_iou": 1.0}), words, shown, hero=hero))
    return file


def pixels(locator):
    with Image.open(BytesIO(locator.screenshot())) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize(("scheme", "width", "columns"), [("light", 1280, 6), ("dark", 390, 3)])
def test_pictures_suit_the_ground_and_the_width(page_of, report, scheme, width, columns):
    page = page_of(report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width  # nothing is wider than the screen
    frames = page.locator(".strip img")
    assert len({frame.bounding_box()["x"] for frame in frames.all()}) == columns
    assert frames.first.bounding_box()["width"] > 90
    paper = {"light": 255, "dark": 0x26}[scheme]
    for picture in (frames.nth(5), page.locator(".chart img"), page.locator("img.chart")):
        picture.scroll_into_view_if_needed()
        seen = pixels(picture)
        assert abs(np.median(seen, axis=(0, 1)) - paper).max() <= 3
    contrast = np.abs(pixels(page.locator(".chart img")) - paper).max()
    assert contrast > 130  # ink is seen on either ground
    body = pixels(frames.nth(5)).reshape(-1, 3)
    red = body[(body[:, 0] - body[:, 1:].max(axis=1)).argmax()]
    assert red[0] > red[1] + 90 and red[0] > red[2] + 90  # a body keeps its colours
    # A chart is as wide as its words need; it scrolls by itself.
    assert page.locator(".chart img").bounding_box()["width"] >= 600
