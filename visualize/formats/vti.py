"""VTK image data for ParaView: one frame (.vti), or all of them in time (.pvd and a folder of .vti)."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from visualize.files import atomic_file, atomic_folder, check_folder
from visualize.formats.content import Content
from visualize.frames import occupied
from visualize.render.probe import prepare_environment


def write_vti(content: Content, path: Path) -> None:
    """Writes the last frame.

    Cell data: `rgba` (uint8, straight alpha), `alpha` (float32: threshold by it), `body` (uint8, 1 where alpha is above
    0.1) and `labels` if there are any. Field data: `TimeValue` (the step), `label_names`, `label_colours` (uint8).
    """
    with atomic_file(path) as beside:
        _grid(content, len(content.frames) - 1).save(beside)


def write_pvd(content: Content, path: Path) -> None:
    """Writes all frames into NAME_frames/ and NAME.pvd, which lists them with their steps as times.

    Source: the ParaView data format, https://www.paraview.org/Wiki/ParaView/Data_formats
    """
    folder = path.with_name(f"{path.stem}_frames")
    check_folder(folder, lambda names: all(name.endswith(".vti") for name in names), "folder of .vti files")
    # pyvista reads .pvd but doesn't write it: the index is a few lines of XML.
    root = ElementTree.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    index = ElementTree.SubElement(root, "Collection")
    with atomic_file(path) as beside, atomic_folder(folder) as inside:
        for frame in content.each_frame():
            name = f"{path.stem}_{frame:05d}.vti"
            _grid(content, frame).save(os.path.join(inside, name))
            time = repr(content.steps[frame].item())
            ElementTree.SubElement(index, "DataSet", timestep=time, group="", part="0", file=f"{folder.name}/{name}")
        ElementTree.indent(root)
        ElementTree.ElementTree(root).write(beside, encoding="utf-8", xml_declaration=True)


def _grid(content: Content, index: int) -> Any:
    """One frame as pyvista ImageData, x fastest as VTK has it: the order of a C array (D,H,W)."""
    prepare_environment()
    import pyvista

    depth, height, width = content.size
    grid = pyvista.ImageData(dimensions=(width + 1, height + 1, depth + 1), spacing=(content.cell_size,) * 3)
    frame = content.frames[index]
    grid.cell_data["alpha"] = frame[..., 3].ravel()
    grid.cell_data["body"] = occupied(frame).astype(np.uint8).ravel()
    if content.labels is not None:
        grid.cell_data["labels"] = content.labels[index].ravel()
    grid.cell_data["rgba"] = content.rgba(index).reshape(-1, 4)
    grid.set_active_scalars("rgba", preference="cell")
    grid.field_data["TimeValue"] = np.array([float(content.steps[index])])
    if content.names:
        grid.field_data["label_names"] = list(content.names)
    if content.palette is not None:
        grid.field_data["label_colours"] = content.palette
    return grid
