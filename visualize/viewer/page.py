"""One HTML file with everything inside: style, scripts, shader, data. It opens from disk with the network off."""

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from visualize.errors import ArgumentError
from visualize.files import atomic_file, writable

# Nothing may be fetched: the browser itself sees to it. WebAssembly, and whoever drives the page from outside, need eval.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:; style-src 'unsafe-inline'; "
    "img-src data:"
)
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="generator" content="nca3d">
<link rel="icon" href="data:,">
<title>$title</title>
<style>html, body { margin: 0; height: 100%; }
#damaged { margin: 2em; font: 16px/1.5 system-ui, sans-serif; animation: appear 0s 3s both; }
@keyframes appear { from { visibility: hidden; } to { visibility: visible; } }
$style</style>
</head>
<body>
<p id="damaged" role="alert">This page is not whole: its file was cut off, or has changed since. Export it again.</p>
<main id="page" data-whole><noscript>This page draws with JavaScript and WebGL2.</noscript></main>
$blocks
<script type="module">
$scripts
$start
</script>
</body>
</html>
""")


def source(name: str) -> str:
    """The text of a file of this folder, such as "volume.js"."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def packed(data: bytes) -> str:
    """Bytes deflated and as base64: what `inflate` in parts.js takes."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(squeezer.compress(data) + squeezer.flush()).decode("ascii")


def page(title: str, scripts: Sequence[str], blocks: Mapping[str, Any], start: str) -> str:
    """Returns the page as text.

    Args:
        title: shown by the browser.
        scripts: JavaScript sources, joined into one module; what they declare is known to all of them.
        blocks: by id, text or anything that JSON holds; `text("id")` and `data("id")` give them to `start`.
        start: JavaScript that begins; the element `root` is the page's own.

    Raises:
        ArgumentError: a block that would end its script early.
    """
    kinds = {name: "text/plain" if isinstance(value, str) else "application/json" for name, value in blocks.items()}
    texts = {name: value if isinstance(value, str) else _json(value) for name, value in blocks.items()}
    for text in (*scripts, *texts.values()):
        # Either would end the block early, or make the browser's parser look for a second end.
        if "</script" in text.lower() or "<!--" in text:
            raise ArgumentError("page", "blocks", "'</script' or '<!--'", "text without them")
    scripts = [source("whole.js"), *scripts]
    parts = {**texts, "program": "\n".join(scripts)}
    sums = {name: zlib.crc32(text.encode("utf-8", "replace")) for name, text in parts.items()}
    begin = (
        f"checkWhole({_json(sums)});\n"
        'const root = document.getElementById("page"), text = (id) => document.getElementById(id).textContent, '
        "data = (id) => JSON.parse(text(id));\n"
    )
    return _PAGE.substitute(
        policy=POLICY,
        title=escape(title),
        style=source("style.css"),
        blocks="\n".join(f'<script type="{kinds[name]}" id="{name}">{text}</script>' for name, text in texts.items()),
        scripts="\n".join(scripts),
        start=begin + start,
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def check_page_path(path: str | os.PathLike[str], where: str) -> Path:
    """The path, if a page can be written there.

    Raises:
        ValueError: another suffix than .html, a missing folder, a place that can't be written.
    """
    return writable(path, where, (".html", ".htm"))


def write_page(html: str, file: Path) -> None:
    """Writes a page whole or not at all."""
    with atomic_file(file) as half:
        half.write_text(html, encoding="utf-8", errors="replace")
