"""The signal that stops the runs of a process, and threads that it does not have to wait for.

A run that is stopped starts nothing new, and finishes the requests in flight.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Any, TypeVar

R = TypeVar("R")

POLL_SECONDS = 0.2
"""Seconds between two checks for a stop while something waits."""


class StopSignal:
    """A flag for threads and signal handlers. It has no lock: a handler could wait for one permanently."""

    requested = False


process_stop = StopSignal()
"""Stops every run of this process, because the process is about to end."""


def in_thread(work: Callable[[], R], name: str) -> "Future[R]":
    """Start `work` in a daemon thread, with the caller's context for the log; return its future.

    A process that ends does not wait for this thread, unlike for the threads of an executor.
    """
    future: Future[R] = Future()
    future.set_running_or_notify_cancel()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # the future raises it again
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(call,), name=name, daemon=True).start()
    return future


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Set `process_stop` on SIGTERM and SIGINT, and call the handler that was there before, once.

    Python's own handler of SIGINT would abort a request, and so would uvicorn's at a second signal. Only the
    main thread can handle signals; in another thread, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        if process_stop.requested:
            return
        process_stop.requested = True
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
