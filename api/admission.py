"""Admission: a bounded executor for runs and previews, the one limit that they meet."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from core.domain import TooManyRuns
from core.runtime import current_request_id, logged_for

T = TypeVar("T")


class Admission:
    """Works on so many `at_once`, lets so many more wait, and refuses the rest.

    What waits costs little, but a queue without a bound could grow faster than it is worked off.
    """

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self._places = BoundedSemaphore(at_once + waiting)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Call `work` once a thread is free; raises `TooManyRuns` when there is no place left."""
        return self.prepare(lambda: work)

    def prepare(self, prepare: Callable[[], Callable[[], T]]) -> "Future[T]":
        """Call `prepare` now, and what it returns once a thread is free.

        Raises `TooManyRuns` when there is no place left, before anything is called; or what `prepare` does.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyRuns("As many runs are under way and waiting as this service takes; ask again soon")
        request_id = current_request_id.get()

        try:
            work = prepare()

            def logged() -> T:
                with logged_for(request_id):
                    return work()

            future = self._threads.submit(logged)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def shutdown(self) -> None:
        """Wait for all that was submitted."""
        self._threads.shutdown()
