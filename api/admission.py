"""Admission: a bounded executor for runs and previews, and the only limit on them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from core.domain import TooManyRuns

T = TypeVar("T")


class Admission:
    """Run at most `at_once` calls at the same time, queue at most `waiting` more, and refuse the rest.

    The queue has a limit because requests may arrive faster than the threads work.
    """

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self._places = BoundedSemaphore(at_once + waiting)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """Call `work` in the next free thread and return its result; raise `TooManyRuns` for a full queue."""
        # `shield` lets the work continue when the client disconnects.
        return await asyncio.shield(asyncio.wrap_future(self.submit(lambda: work)))

    def submit(self, prepare: Callable[[], Callable[[], T]]) -> "Future[T]":
        """Call `prepare` now, and call what it returns in the next free thread.

        Raises `TooManyRuns` when the queue is full, before any call; or what `prepare` raises.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyRuns("The queue of this service is full; send the request again later")
        try:
            future = self._threads.submit(prepare())
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def shutdown(self) -> None:
        """Wait until all submitted work is done."""
        self._threads.shutdown()
