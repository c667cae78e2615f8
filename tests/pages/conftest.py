"""A real browser with the network off, for every test that opens a page."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from animal import animal, growing  # noqa: F401  (fixtures)

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page_of(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file from disk with the network off; an error of the page fails the test."""
    contexts, troubles = [], []

    def open_page(file: Path | str, **options: Any) -> Any:
        context = browser.new_context(**{"offline": True, "viewport": {"width": 640, "height": 480}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "blob:", "data:", "about:"))
                else troubles.append(f"asked for {request.url}")
            ),
        )
        page.goto(f"file://{file}" if not str(file).startswith("about:") else str(file))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles, troubles
