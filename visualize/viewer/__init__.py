"""Bodies to look at in a browser: pages that need no server, no network and nothing installed.

Holds the recorded film (`movie`), the frame of every page (`page`, `source`) and, in JavaScript, what they are made of:
volume.js with body.glsl (the renderer), parts.js (controls), movie.js (time), creature.js (a living body, whoever steps it).
Imports numpy and Pillow; knows nothing of rules. May import what all rooms share and no other room.
"""

from visualize.viewer.movie import movie
from visualize.viewer.page import check_page_path, packed, page, source, write_page

__all__ = ["check_page_path", "movie", "packed", "page", "source", "write_page"]
