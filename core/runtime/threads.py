"""Work in a thread that does not keep the process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

R = TypeVar("R")


def in_thread(work: Callable[[], R], name: str) -> "Future[R]":
    """Start `work` in a daemon thread, with the caller's context for the log; return its future.

    The threads of an executor, unlike this one, are waited for at the end of the process.
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
