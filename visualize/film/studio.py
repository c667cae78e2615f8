"""What every film is made of: clips of bodies, drawn ahead by their scenes on as many threads as help."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from visualize.frames import Box, FloatArray, Picture
from visualize.render.scene import Scene

MOST_THREADS = 4
SLACK = 2  # pictures drawn ahead for each thread, no more: they wait in memory


class Clip(NamedTuple):
    """One body of a film: its frames, what glows in them, which frame is shown at each tick, and in which box."""

    frames: FloatArray
    activity: FloatArray | None
    shown: Sequence[int]
    box: int = 0

    def same(self, tick: int) -> bool:
        """Whether the picture of the tick before shows the same cells."""
        before, now = self.shown[tick - 1], self.shown[tick]
        if before == now:
            return True
        glows = self.activity is not None and not np.array_equal(self.activity[before], self.activity[now])
        return not glows and np.array_equal(self.frames[before], self.frames[now])


class Studio:
    """Scenes for one or more boxes. What numpy draws is drawn ahead on threads, each with scenes of its own.

    OpenGL keeps to the thread that opened it; there the driver and the encoder have the other cores.

    Args:
        boxes: the boxes that clips are seen in.
        pictures: how many will be drawn: no more threads than that.
        options: keywords of `Scene`.
    """

    def __init__(self, boxes: Sequence[Box], pictures: int, options: Mapping[str, Any]) -> None:
        self._sets: list[list[Scene]] = [[]]
        try:
            for box in boxes:
                self._sets[0].append(Scene(box, **options))
            if self._sets[0][0].renderer == "raymarch" or options.get("style") == "activity":
                for _ in range(min(_cores(), MOST_THREADS, pictures) - 1):
                    self._sets.append([Scene(box, **options) for box in boxes])
        except BaseException:
            self.close()
            raise

    @property
    def paper(self) -> FloatArray:
        """The background colour (3,)."""
        return self._sets[0][0].paper

    def draw(self, clips: Sequence[Clip], azimuths: Sequence[float]) -> Iterator[list[Picture]]:
        """Yields the pictures (h,w,3) of all clips, tick by tick; one that repeats is held."""
        if len(self._sets) == 1:
            pictures: list[Picture] = [np.empty(0, np.uint8)] * len(clips)
            for tick, azimuth in enumerate(azimuths):
                for index, clip in enumerate(clips):
                    if not _held(clip, azimuths, tick):
                        pictures[index] = _draw(self._sets[0], clip, tick, azimuth)
                yield list(pictures)
        else:
            yield from self._draw_ahead(clips, azimuths)

    def _draw_ahead(self, clips: Sequence[Clip], azimuths: Sequence[float]) -> Iterator[list[Picture]]:
        idle: SimpleQueue[list[Scene]] = SimpleQueue()
        for scenes in self._sets:
            idle.put(scenes)

        def work(clip: Clip, tick: int, azimuth: float) -> Picture:
            scenes = idle.get()
            try:
                return _draw(scenes, clip, tick, azimuth)
            finally:
                idle.put(scenes)

        pool = ThreadPoolExecutor(len(self._sets))
        try:
            waiting: deque[list[Future[Picture]]] = deque()
            for tick, azimuth in enumerate(azimuths):
                waiting.append(
                    [
                        waiting[-1][index]
                        if waiting and _held(clip, azimuths, tick)
                        else pool.submit(work, clip, tick, azimuth)
                        for index, clip in enumerate(clips)
                    ]
                )
                while len(waiting) > max(SLACK * len(self._sets) // len(clips), 1):
                    yield [future.result() for future in waiting.popleft()]
            for futures in waiting:
                yield [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Gives back what the renderers hold."""
        for scene in (scene for scenes in self._sets for scene in scenes):
            scene.close()

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _held(clip: Clip, azimuths: Sequence[float], tick: int) -> bool:
    return tick > 0 and azimuths[tick] == azimuths[tick - 1] and clip.same(tick)


def _draw(scenes: Sequence[Scene], clip: Clip, tick: int, azimuth: float) -> Picture:
    frame = clip.shown[tick]
    activity = None if clip.activity is None else clip.activity[frame]
    return scenes[clip.box].draw(clip.frames[frame], azimuth, activity)


def bar(ticks: Callable[[], Iterator[Picture]], count: int, progress: bool) -> Iterator[Picture]:
    """Yields the pictures (h,w,3); if `progress`, a bar on stderr says how long the rest will take."""
    from tqdm.auto import tqdm

    yield from tqdm(ticks(), total=count, desc="film", unit="frame", disable=not progress)
