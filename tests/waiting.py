"""Waiting for what another thread, process or server does."""

import time
from collections.abc import Callable
from typing import TypeVar

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
