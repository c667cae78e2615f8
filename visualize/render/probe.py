"""Which renderer works here. OpenGL is tried once in a child process: its failure is a segfault, not an error."""

import functools
import importlib.util
import os
import subprocess
import sys

from visualize.errors import ArgumentError

RENDERERS = ("auto", "opengl", "raymarch")
SWITCH = "NCA3D_RENDERER"  # environment: what "auto" means, "opengl" or "raymarch", without a probe of its own
PATIENCE = 90.0  # seconds: a cold disk takes 20

_TRIAL = """
import pyvista
plotter = pyvista.Plotter(off_screen=True, window_size=(32, 32))
plotter.add_mesh(pyvista.Sphere(), color="red")
plotter.render()
picture = plotter.screenshot(return_img=True)
raise SystemExit(0 if picture.std() > 1 else 3)
"""


def choose(renderer: str) -> str:
    """The renderer to use, "opengl" or "raymarch".

    Args:
        renderer: "auto" takes OpenGL where it works; the environment variable NCA3D_RENDERER overrides "auto".

    Raises:
        ValueError: the name isn't known, or OpenGL is asked for where it doesn't work.
    """
    where, wish = "visualize", renderer
    if renderer == "auto":
        where, wish = SWITCH, os.environ.get(SWITCH, "").strip().lower() or "auto"
    if wish not in RENDERERS:
        raise ArgumentError(where, "renderer", repr(wish), ", ".join(RENDERERS))
    if wish == "raymarch":
        return "raymarch"
    trouble = opengl_trouble()
    if wish == "opengl" and trouble:
        raise ArgumentError(where, "renderer", f"'opengl', but {trouble}", "'raymarch' or 'auto' here")
    return "raymarch" if trouble else "opengl"


def prepare_environment() -> None:
    """Tells VTK to draw without a display where there is none; must run before pyvista is imported."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


@functools.cache
def opengl_trouble() -> str:
    """Why OpenGL can't be used here, in a few words; empty when it works. Tried once for each process."""
    if importlib.util.find_spec("pyvista") is None:
        return "pyvista is missing (extra 'viz')"
    prepare_environment()
    try:
        # -P: not from the current folder, where anybody's `pyvista.py` may lie.
        command = [sys.executable, "-P", "-c", _TRIAL]
        trial = subprocess.run(command, timeout=PATIENCE, capture_output=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return "the trial picture did not come"
    if trial.returncode == 0:
        return ""
    return "the trial picture crashed" if trial.returncode < 0 else "the trial picture failed"
