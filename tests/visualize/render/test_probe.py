"""OpenGL is tried in a process of its own, which imports nothing that lies in the current folder."""

import pytest

from visualize.render import probe


@pytest.mark.slow
def test_what_lies_in_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    pytest.importorskip("pyvista")
    trouble = probe.opengl_trouble()
    for name in ("pyvista", "numpy", "vtkmodules"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    # Not the answer that is kept.
    assert probe.opengl_trouble.__wrapped__() == trouble
    assert not (tmp_path / "mark").exists()
