"""Threads for long work, and a line of bounded length in front of them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from core.errors import TooManyRuns
from core.logs import current_request_id, logged_for

T = TypeVar("T")


class Turns:
    """Works on so many `at_once`, lets so many more wait, and refuses the rest, who had better come again.

    What waits costs little, but whoever asks more often than is worked off would wait for ever.
    """

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self._places = BoundedSemaphore(at_once + waiting)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)

    def submit(self, work: Callable[[], T], *, first: Callable[[], None] | None = None) -> "Future[T]":
        """Have `work` done in its turn, and `first` right now, without which it is not.

        Raises `TooManyRuns` when there is no place left, before anything is done, and what `first` raises.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyRuns("As many runs are under way and waiting as this service takes; ask again soon")
        request_id = current_request_id.get()

        def logged() -> T:
            with logged_for(request_id):
                return work()

        try:
            if first is not None:
                first()
            future = self._threads.submit(logged)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        return future

    def shutdown(self) -> None:
        """Wait for all that was submitted."""
        self._threads.shutdown()
