"""Admission: runs beyond the limit wait, runs beyond the queue are refused, other requests never wait."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from api import service as api_service
from api.admission import Admission
from core.domain import TooManyRuns
from core.ledger import liveness
from tests.conftest import Serve
from tests.delivery.world import query
from tests.service import ASYNC, MONTH, Service, row, write_source
from tests.slack.hostile import HostileSlack, answer, held
from tests.waiting import until


def test_work_beyond_the_limit_waits_and_outlives_its_caller() -> None:
    release, begun, prepared = threading.Event(), [], []
    admission = Admission("test", at_once=2, waiting=1)

    def work(number: int) -> None:
        begun.append(number)
        release.wait(60)

    async def ask_and_leave() -> None:
        waiting = asyncio.create_task(admission.call(partial(work, 3)))
        await asyncio.sleep(0)
        waiting.cancel()

    for number in (1, 2):
        admission.submit(lambda number=number: partial(work, number))
    asyncio.run(ask_and_leave())
    with pytest.raises(TooManyRuns):
        admission.submit(lambda: prepared.append(4) or list)
    until(lambda: len(begun) >= 2)
    assert (sorted(begun), prepared) == ([1, 2], [])
    release.set()
    admission.shutdown()
    assert begun[2:] == [3]


def test_work_that_cannot_be_prepared_leaves_its_place() -> None:
    admission = Admission("test", at_once=1, waiting=0)

    def prepare() -> NoReturn:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            admission.submit(prepare)
    assert admission.submit(lambda: list).result() == []
    admission.shutdown()


@contextmanager
def busy(
    serve: Serve, source: str, month: str = MONTH, at_once: int = 1
) -> Iterator[tuple[Service, "Future[httpx.Response]", threading.Event]]:
    """Yield an API, the request whose run occupies one of its threads, and what releases that run."""
    release = threading.Event()
    with HostileSlack() as slack, ThreadPoolExecutor(1) as pool:
        slack.script("/amer-risk-alerts", held(release.is_set, answer(200, "ok")))
        service = serve(
            API_RUNS_AT_ONCE=str(at_once), SLACK_WEBHOOK_BASE_URL=slack.url, SLACK_TIMEOUT_SECONDS="60"
        )
        first = pool.submit(service.post, "/runs", source, month)
        try:
            until(lambda: slack.received("/amer-risk-alerts"))
            yield service, first, release
        finally:
            release.set()


def test_run_beyond_the_queue_gets_429(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_service, "WAITING_FOR_EACH", 1)
    months = ["2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01"]
    source = write_source(tmp_path / "status.parquet", [row(f"of {month}", month) for month in months])
    with busy(serve, source, months[0], at_once=2) as (service, first, release):
        # Async runs are recorded and answered although no thread is free.
        for month in months[1:]:
            assert service.post("/runs", source, month, headers=ASYNC).status_code == 202

        refused = service.post("/runs", source)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_runs")
        assert refused.headers["Retry-After"] == "10"
        assert len(service.runs()) == 4
        # A bad request waits for no run.
        assert service.post("/runs", "file://host/x").status_code == 422

        assert service.post("/preview", source).status_code == 200
        assert service.get("/health")["status"] == "ok"
        assert not first.done()
        release.set()
        assert first.result().status_code == 200
        until(lambda: all(run["finished_at"] for run in service.runs()))
        assert [(run["status"], run["counts"]["alerts_sent"]) for run in service.runs()] == [
            ("succeeded", 1)
        ] * 4
        # The queue has room again.
        assert service.post("/runs", source).status_code == 200


def test_queued_run_has_a_heartbeat(
    serve: Serve, source: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.1)
    with busy(serve, source) as (service, first, _):
        run_id = service.post("/runs", source, headers=ASYNC).json()["run_id"]

        def heartbeat() -> str:
            [(at,)] = query(path, "SELECT heartbeat_at FROM runs WHERE run_id = ?", run_id)
            return str(at)

        before = heartbeat()
        until(lambda: heartbeat() > before)
        assert not first.done(), "the run has begun"
