"""What is read and decoded at once is limited, whatever the source holds."""

import inspect
import os
import runpy
import time
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pyarrow as pa
import pytest

from core.domain import Interrupted
from core.runtime import Settings
from core.sources import Need, open_uri, read_window
from core.sources.parquet import row_groups
from core.sources.workers import Workers
from tests.reading.stages import put
from tests.reading.worlds import MONTH, row
from tests.waiting import HANG_SECONDS, until


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr("core.sources.workers.FETCHED_BYTES", 100)
    monkeypatch.setattr("core.sources.workers.KEPT_BYTES", 100)
    return Workers(requests=1)


def test_processors_are_counted_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python has no `sched_getaffinity`."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert runpy.run_path(inspect.getfile(Workers))["DECODERS"] in range(1, 5)


def test_read_waits_for_room(workers: Workers) -> None:
    fetched = Event()

    def fetch() -> None:
        with workers.fetching(40):
            fetched.set()

    with workers:
        with workers.fetching(30), workers.fetching(31):
            read = workers.submit(fetch)
            until(lambda: workers._changed._waiters)
            assert not fetched.is_set()
        read.result(timeout=HANG_SECONDS)
        with workers.fetching(1_000):
            pass


def test_read_that_waits_for_room_ends_with_the_context(workers: Workers) -> None:
    """If a store hangs, such reads would reach their time limits one after the other."""

    def fetch() -> None:
        with workers.fetching(1):
            pass

    with workers.fetching(100):
        with workers:
            read = workers.submit(fetch)
            until(lambda: workers._changed._waiters)
        assert isinstance(read.exception(timeout=0), Interrupted)


def test_read_that_waits_for_a_thread_is_dropped_at_the_end(workers: Workers) -> None:
    dropped = Event()
    with workers:
        *_, waiting = [workers.submit(dropped.wait, HANG_SECONDS) for _ in range(workers.most_ahead)]
        waiting.add_done_callback(lambda _: dropped.set())
    assert waiting.cancelled()


def test_only_so_many_bytes_are_kept(workers: Workers) -> None:
    assert [workers.keep_if_room(size) for size in (60, 41, 40, 1)] == [True, False, True, False]
    assert not Workers(requests=0).keep_if_room(1), "a local file can be read again"


def test_only_so_many_results_are_computed_ahead(workers: Workers) -> None:
    numbers = iter(range(100))
    with workers:
        results = workers.each(lambda number: number, numbers)
        assert next(results) == 0
        assert next(numbers) == workers.most_ahead
        assert [*results] == [number for number in range(1, 100) if number != workers.most_ahead]


def test_only_so_many_row_groups_are_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        put(tmp_path / f"{number}.parquet", row(f"a{number}"))
    lock, was_alone, split = Lock(), [], row_groups._split_month

    def slowly(*arguments: Any) -> tuple[pa.Table, pa.RecordBatch, int]:
        alone = lock.acquire(blocking=False)
        was_alone.append(alone)
        time.sleep(0.02)
        if alone:
            lock.release()
        return split(*arguments)

    monkeypatch.setattr(row_groups, "_split_month", slowly)
    monkeypatch.setattr("core.sources.workers.DECODERS", 1)
    source = open_uri(tmp_path.as_uri(), Settings())
    source.requests = 8
    read_window(source, MONTH, Need(0))
    assert was_alone == [True] * 8
