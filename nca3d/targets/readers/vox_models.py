"""One model of a MagicaVoxel file: which one is meant, turned as its scene shows it, and what is said about that."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.vox_chunks import Model, Transform, VoxFile
from nca3d.targets.readers.vox_scene import STILL, Extent, Instance, instances, turned

ALL = 'model = "scene"'


class Scene(NamedTuple):
    """What chooses among models.

    Attributes:
        standing: The shapes of the scene; none where it can't be read.
        broken: What is said where it can't be read.
        film: Whether the models are the frames of one shape.
        ours: Whether that film is one that `visualize.save` wrote.
    """

    standing: list[Instance]
    broken: str
    film: bool
    ours: bool


def one_model(vox: VoxFile, model: int | str | None, path: Path) -> tuple[np.ndarray, Extent, list[str]]:
    """Returns the voxels (n, 4) of one model as it is shown, its size (x, y, z), and what was decided.

    A model that is placed once, or always the same way round, is turned as its node turns it. Unless one is asked for, it
    is the first with a voxel that is shown; of a film that `visualize.save` wrote, the last, which is the grown body.

    Raises:
        InputError: If there is no such model.
    """
    scene = _scene(vox, path)
    chosen = _default(vox, scene) if model is None else _asked(model, len(vox.models), path)
    shown = [one for one in scene.standing if one.shown and chosen in one.models]
    placed = shown or [one for one in scene.standing if chosen in one.models]
    alike = all((one.rotation == placed[0].rotation).all() for one in placed)
    rotation = placed[0].rotation if placed and alike else STILL
    body = turned(vox.models[chosen], rotation)
    if not len(body.voxels):
        return body.voxels, body.size, []
    remarks = [scene.broken] * bool(scene.broken) + ["turned as in its scene"] * bool((rotation != STILL).any())
    if placed and not shown:
        remarks.append("it is hidden in the file")
    elif not placed and not scene.broken:
        remarks.append("it is nowhere in the file's scene")
    if len(shown) > 1:
        how = "" if alike else ", turned in different ways: here as it was drawn"
        remarks.append(f"it is placed {len(shown)} times{how}; {ALL} shows all as they stand")
    if model is None and len(vox.models) > 1:
        remarks.insert(0, _choice(vox, scene, chosen, body))
        remarks.append(_others(vox, scene, chosen, said=len(shown) > 1))
    elif remarks:
        remarks.insert(0, f"model {chosen + 1} of {len(vox.models)}, {_held(body)}")
    return body.voxels, body.size, [f"{path.name}: {'; '.join(filter(None, remarks))}"] * bool(remarks)


def _scene(vox: VoxFile, path: Path) -> Scene:
    """Returns what chooses among the models; a scene that can't be read doesn't keep anyone from them."""
    from visualize.formats.vox import FILM

    root = vox.nodes.get(0)
    try:
        standing = instances(vox, path)
    except InputError as error:
        return Scene([], f"its scene can't be read ({error.found}), so that it stands as it was drawn", vox.film, False)
    film = vox.film and len(standing) == 1
    return Scene(standing, "", film, film and isinstance(root, Transform) and root.name == FILM)


def _asked(model: int | str, count: int, path: Path) -> int:
    """Returns the place of the model that was asked for: from 1 up, or from -1, the last, down."""
    if isinstance(model, int) and not isinstance(model, bool) and 1 <= abs(model) <= count:
        return model - 1 if model > 0 else count + model
    allowed = f"1 to {count}, -1 for the last, or 'scene' for all as they stand"
    raise InputError(path, "model", repr(model), allowed)


def _default(vox: VoxFile, scene: Scene) -> int:
    """Returns the place of the model that is meant where none is asked for."""
    shown = sorted(one.models for one in scene.standing if one.shown)
    order = [model for models in shown for model in models]
    everything = [*(reversed(order) if scene.ours else order), *range(len(vox.models))]
    return next((model for model in everything if len(vox.models[model].voxels)), 0)


def _choice(vox: VoxFile, scene: Scene, chosen: int, body: Model) -> str:
    """Returns how many models there are, which of them was chosen, and why."""
    count = len(vox.models)
    kind = " (frames of a film by nca3d)" if scene.ours else " (frames of an animation)" if scene.film else ""
    passed = [number for number in range(chosen) if len(vox.models[number].voxels)]
    seen = {number for one in scene.standing if one.shown for number in one.models}
    if scene.ours:
        which = "the last" if chosen == count - 1 else f"number {chosen + 1}, the last with a voxel"
    elif chosen == 0:
        which = "the first"
    elif not passed:
        which = f"number {chosen + 1}, the first with a voxel"
    elif seen & set(passed):
        which = f"number {chosen + 1}, the first frame"
    else:
        named = f"model {passed[0] + 1} is" if len(passed) == 1 else f"{len(passed)} models before it are"
        placed = {number for one in scene.standing for number in one.models}
        why = "hidden in the file" if set(passed) <= placed else "hidden or nowhere in the file's scene"
        which = f"number {chosen + 1}, the first that is shown ({named} {why})"
    return f"{count} models{kind}: {which}, {_held(body)}"


def _others(vox: VoxFile, scene: Scene, chosen: int, *, said: bool) -> str:
    """Returns how the other models are reached; `said` is whether the scene was named already."""
    count = len(vox.models)
    places = [*range(chosen + 1, count), *range(chosen)]
    other = next((number + 1 for number in places if len(vox.models[number].voxels)), 0)
    if scene.ours:
        return f"model = {other} shows another frame" if other else "the other frames are empty"
    if scene.film:
        last = ", model = -1 the last" if count not in (other, chosen + 1) and len(vox.models[-1].voxels) else ""
        return f"model = {other} shows another frame{last}" if other else "the other frames are empty"
    one = f"model = {other} shows another" if other else "the others are empty"
    return one if said else f"model = {other}, or {ALL} for all as they stand" if other else one


def _held(body: Model) -> str:
    """Returns how many cells a model has, of what room."""
    count = len(np.unique(body.voxels[:, :3], axis=0))
    return f"{count:,} cell{'s' * (count != 1)} of {' × '.join(map(str, body.size[::-1]))} (D × H × W)"
