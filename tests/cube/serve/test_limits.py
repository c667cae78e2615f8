"""How much a server takes in: counted as it comes, forgotten in time, and never more than so many clients."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.serve.limits import DRAINED, Buckets, Limits, TooLarge, read_body


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_then_so_many_a_minute() -> None:
    clock = Clock()
    buckets = Buckets(30, now=clock)
    assert [buckets.wait("a") for _ in range(31)] == [0] * 30 + [2]
    assert buckets.wait("b") == 0, "another client has a bucket of its own"
    clock.now += 1.9
    assert buckets.wait("a") == 1
    clock.now += 0.2
    assert [buckets.wait("a") for _ in range(2)] == [0, 2]
    clock.now += 3600
    assert [buckets.wait("a") for _ in range(31)] == [0] * 30 + [2], "a long silence fills one bucket, no more"


@given(st.integers(1, 120), st.lists(st.floats(0, 5), max_size=60))
def test_never_more_than_the_rate_and_waiting_helps(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets, taken = Buckets(rate, now=clock), 0
    for pause in pauses:
        clock.now += pause
        seconds = buckets.wait("a")
        if seconds:
            clock.now += seconds + 1e-6
            assert buckets.wait("a") == 0, "after the seconds that were told there is one"
        taken += 1
    assert taken <= rate + clock.now * rate / 60 + 1


def test_clients_are_forgotten_the_longest_silent_first() -> None:
    buckets = Buckets(1, clients=3, now=Clock())
    for name in "abcadb":
        buckets.wait(name)
    assert [buckets.wait(name) > 0 for name in "adb"] == [True] * 3, "the three that are known have none left"
    assert buckets.wait("c") == 0, "forgotten when b came again"


def test_no_rate_is_no_limit() -> None:
    buckets = Buckets(0)
    assert not any(buckets.wait("a") for _ in range(1000))


def test_a_body_is_counted_not_believed() -> None:
    read = 0

    async def parts(count: int) -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(count):
            read += 10
            yield b"x" * 10

    def listen(count: int) -> bytes:
        # In a thread of its own: another test's browser may hold this one's event loop.
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(lambda: asyncio.run(read_body(parts(count), 100))).result()

    assert listen(10) == b"x" * 100
    for count in (11, 10_000):
        read = 0
        with pytest.raises(TooLarge):
            listen(count)
        assert read <= 100 * DRAINED + 10, "at some point it listens no more"


def test_whatever_fits_the_other_limits_fits_the_body() -> None:
    import json

    limits = Limits(questions=3, length=50)
    assert len(json.dumps({"questions": ["\U0001f600" * 50] * 3, "best": 100})) <= limits.body
