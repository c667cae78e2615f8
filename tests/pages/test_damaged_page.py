"""A page that was cut off, or in which a bit has flipped, says so instead of showing another body, or nothing."""

import re

import pytest

from nca3d import cli

# They open real files in a real browser.
pytestmark = pytest.mark.slow
PARTS = {
    "weights": r'id="weights">\{"floats":"',
    "about": r'id="about">.{60}',
    "engine": r'id="engine">.{600}',
    "fragment": r'id="fragment">.{600}',
    "program": r'<script type="module">.{3000}',
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("live") / "creature.html"
    assert cli.main(["export", "zoo:cross", "--live", str(file)]) == 0
    return file.read_bytes()


def note_of(browser, file) -> str:
    """What the page says of itself once it has had time to start; "" = nothing."""
    context = browser.new_context(offline=True)
    try:
        opened = context.new_page()
        opened.goto(f"file://{file}")
        opened.wait_for_timeout(3500)
        note = opened.query_selector("#damaged")
        return note.inner_text() if note and note.is_visible() else ""
    finally:
        context.close()


def test_a_whole_page_says_nothing(browser, page, tmp_path):
    (tmp_path / "page.html").write_bytes(page)
    assert note_of(browser, tmp_path / "page.html") == ""


@pytest.mark.parametrize("part", PARTS)
def test_a_character_that_changed_is_told(browser, page, tmp_path, part):
    at = re.search(PARTS[part].encode(), page, re.DOTALL).end() + 20
    other = b"q" if page[at : at + 1] != b"q" else b"p"
    (tmp_path / "page.html").write_bytes(page[:at] + other + page[at + 1 :])
    assert "This page is not whole" in note_of(browser, tmp_path / "page.html")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_page_that_was_cut_off_is_told(browser, page, tmp_path, share):
    (tmp_path / "page.html").write_bytes(page[: int(share * len(page))])
    assert "This page is not whole" in note_of(browser, tmp_path / "page.html")
