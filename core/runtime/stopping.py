"""How the runs of a process are asked to stop: nothing new is begun, what is under way is finished."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from core.domain import Interrupted

LOOK_UP_SECONDS = 0.2
"""How long a stop may go unheard by who waits."""

R = TypeVar("R")


class StopSignal:
    """Set once, from any thread or signal handler, and heard by all who subscribed."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler may interrupt this very thread while it holds the lock.
        self._lock = threading.RLock()
        self._set = False
        self._heard_by: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Say whether to stop."""
        return self._set

    def set(self) -> None:
        """Ask to stop."""
        with self._lock:
            self._set = True
            listeners = list(self._heard_by)
        for listener in listeners:
            listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener` when asked to stop, at once if that was before; it must return quickly."""
        with self._lock:
            self._heard_by.append(listener)
            already = self._set
        if already:
            listener()
        try:
            yield
        finally:
            with self._lock:
                self._heard_by.remove(listener)


process_stop = StopSignal()
"""Asks every run of this process to stop, for good: the process is about to end."""


def wait_for(future: "Future[R]", seconds: float = math.inf) -> R:
    """Wait for the answer of `future`, `seconds` at the most, and no longer than until `process_stop`.

    Raises `Interrupted` or, when the time is over, `TimeoutError`, and then cancels what has not begun.
    """
    deadline = time.monotonic() + seconds
    while True:
        if process_stop.is_set():
            future.cancel()
            raise Interrupted("The run was told to stop while it read the source; run the month again")
        left = deadline - time.monotonic()
        try:
            return future.result(max(0, min(left, LOOK_UP_SECONDS)))
        except TimeoutError:
            if future.done():
                raise
            if left <= 0:
                future.cancel()
                raise


@contextmanager
def stopped_by_signals(stop: StopSignal) -> Iterator[None]:
    """Have SIGTERM and SIGINT ask to stop, before whoever handled them until now hears of it.

    Python's own handler of SIGINT is left out: it would break off what is under way. Works in the main thread
    only; elsewhere signals are someone else's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, frame)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
