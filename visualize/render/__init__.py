"""What draws bodies in space: stills (`volume`), the scene that films draw with, rays, OpenGL, light, floor, legends, axes.

May import what all rooms share (`arguments`, `clock`, `fields`, `files`, `frames`) and no other room.
Doors: `view` (where the eye stands for a lattice, in degrees), `as_colour` (a caller's colour, checked), `opengl_trouble`.
"""

from visualize.frames import as_colour
from visualize.render.probe import opengl_trouble
from visualize.render.view import view

__all__ = ["as_colour", "opengl_trouble", "view"]
