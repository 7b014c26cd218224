"""Waiting for what another thread, process or server does, and a clock for code that waits."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TypeVar

import pytest

T = TypeVar("T")

HANG_SECONDS = 600
"""How long a test waits before it fails: a bound on hanging, not a measure of speed."""


def until(ask: Callable[[], T | None], explain: Callable[[], object] = lambda: "it did not happen") -> T:
    """Call `ask` until it returns a true value; return that value."""
    deadline = time.monotonic() + HANG_SECONDS
    while not (answer := ask()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)
    return answer


def at_the_first_retry(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[float]:
    """Call `act` instead of tenacity's first wait in this process; return the waits, in seconds."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            act()
        else:
            time.sleep(seconds)

    patch.setattr("tenacity.nap.time", SimpleNamespace(sleep=sleep))
    return waits


class Clock:
    """A clock that advances only when something sleeps, so that no test really waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
