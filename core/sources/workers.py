"""Read and decode the parts of a source concurrently, with limited memory, until the process is stopped."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa

from core.domain import Interrupted, SourceUnreachable
from core.runtime import POLL_SECONDS, process_stop

DECODERS = min(pa.cpu_count(), 4)
"""How many row groups are decoded at once: each needs a processor, and memory for a batch of rows."""
FETCHED_BYTES = 64 * 2**20
"""The most bytes that are fetched and not yet decoded, unless a single row group is larger."""
KEPT_BYTES = 64 * 2**20
"""The most fetched bytes that are kept for a later pass, which would fetch them again."""

T = TypeVar("T")
R = TypeVar("R")


class Workers(ThreadPoolExecutor):
    """A pool of threads: `DECODERS` threads to decode, and one to wait for each of the `requests`.

    The end of the context waits for what is being fetched or decoded, and drops the rest.
    """

    def __init__(self, requests: int) -> None:
        super().__init__(requests + DECODERS, thread_name_prefix="read")
        self._waits = requests > 0
        self.most_ahead = requests + DECODERS + 1
        """How many reads to submit at once: one for each thread, and one more that waits for a thread."""
        self.decoding = threading.BoundedSemaphore(DECODERS)
        """Reserves a processor to decode; must not be nested."""
        self._changed = threading.Condition()
        self._fetched = 0
        self._ended = False
        self._room_to_keep = KEPT_BYTES if self._waits else 0

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self.shutdown(cancel_futures=True)

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the result of `function` for each item, in order; compute some results ahead."""
        ahead: list[Future[R]] = []
        for item in items:
            ahead.append(self.submit(function, item))
            if len(ahead) == self.most_ahead:
                yield wait_for(ahead.pop(0))
        while ahead:
            yield wait_for(ahead.pop(0))

    def each_request(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield as `each` does, but in one thread for local files, where Python's threads only take turns."""
        return self.each(function, items) if self._waits else map(function, items)

    @contextmanager
    def fetching(self, size: int) -> Iterator[None]:
        """Reserve room for `size` fetched bytes; must not be nested.

        Raises `Interrupted` once the context has ended.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or not self._fetched or self._fetched + size <= FETCHED_BYTES
            )
            if self._ended:
                raise Interrupted("The reading has ended")
            self._fetched += size
        try:
            yield
        finally:
            with self._changed:
                self._fetched -= size
                self._changed.notify_all()

    def keep_if_room(self, size: int) -> bool:
        """Reserve `size` bytes until the end; return False without room for them, or for local files."""
        with self._changed:
            if size > self._room_to_keep:
                return False
            self._room_to_keep -= size
        return True


def wait_for(future: "Future[R]", what: str = "", seconds: float = math.inf) -> R:
    """Return the result of `future`; wait at most `seconds`, and only until `process_stop`.

    Raises `Interrupted`, or `SourceUnreachable` about `what` when the time is over; then cancels the future.
    """
    deadline = time.monotonic() + seconds
    try:
        while True:
            check_stop()
            left = deadline - time.monotonic()
            if wait({future}, max(0, min(left, POLL_SECONDS))).done:
                return future.result()
            if left <= 0:
                raise SourceUnreachable(
                    f"{what}: no answer in {seconds:g} s: check the network and the proxy, or raise"
                    " SOURCE_TIMEOUT_SECONDS"
                )
    finally:
        future.cancel()


def check_stop() -> None:
    """Raise `Interrupted` if the process is to stop."""
    if process_stop.requested:
        raise Interrupted("The run was stopped while it read the source; run the month again")
