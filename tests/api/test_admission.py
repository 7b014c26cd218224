"""Admission: runs beyond the limit wait, those beyond the queue are refused, and other requests go on."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from api import service as api_service
from core.ledger import liveness
from tests.conftest import Serve
from tests.service import MONTH, Service, row, write_source
from tests.slack.hostile import HostileSlack, answer
from tests.waiting import until


class HeldSlack(HostileSlack):
    """A Slack that answers the first message only when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.script("/amer-risk-alerts", self._held)

    async def _held(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(self.let_go.wait)
        await answer(200, "ok")(writer)


@pytest.fixture
def held_slack() -> Iterator[HeldSlack]:
    """Yield such a Slack, and release it at the end."""
    with HeldSlack() as slack:
        try:
            yield slack
        finally:
            slack.let_go.set()


def ask(service: Service, source: str, month: str = MONTH, **headers: str) -> httpx.Response:
    return service.client.post("/runs", json={"source_uri": source, "month": month}, headers=headers)


def under_way(slack: HostileSlack) -> None:
    """Wait until the first run has sent a message."""
    until(lambda: slack.received("/amer-risk-alerts"))


def test_run_beyond_the_queue_gets_429(
    serve: Serve, held_slack: HeldSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_service, "WAITING_FOR_EACH", 2)
    service = serve(API_RUNS_AT_ONCE="1", SLACK_WEBHOOK_BASE_URL=held_slack.url, SLACK_TIMEOUT_SECONDS="60")
    months = ["2025-01-01", "2025-02-01", "2025-03-01"]
    source = write_source(tmp_path / "status.parquet", [row(f"of {month}", month) for month in months])
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask, service, source, months[0])]
        under_way(held_slack)
        waiting += [pool.submit(ask, service, source, month, Prefer="respond-async") for month in months[1:]]
        # Async runs are recorded and answered although no thread is free.
        accepted = [answered.result(timeout=20) for answered in waiting[1:]]
        assert [answered.status_code for answered in accepted] == [202, 202]

        refused = ask(service, source)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_runs")
        assert refused.headers["Retry-After"] == "10"
        assert len(service.runs()) == 3

        body = {"source_uri": source, "month": MONTH}
        assert service.client.post("/preview", json=body, timeout=20).status_code == 200
        assert service.get("/health")["status"] == "ok"
        assert not waiting[0].done()
        held_slack.let_go.set()
        assert waiting[0].result().status_code == 200
    until(lambda: all(run["finished_at"] for run in service.runs()))
    assert [(run["status"], run["counts"]["alerts_sent"]) for run in service.runs()] == [("succeeded", 1)] * 3
    # The queue has room again.
    assert ask(service, source).status_code == 200


def test_queued_run_has_a_heartbeat(
    serve: Serve, held_slack: HeldSlack, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.1)
    service = serve(API_RUNS_AT_ONCE="1", SLACK_WEBHOOK_BASE_URL=held_slack.url, SLACK_TIMEOUT_SECONDS="60")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, service, source)
        under_way(held_slack)
        run_id = ask(service, source, Prefer="respond-async").json()["run_id"]
        before = heartbeat(tmp_path / "ledger.db", run_id)
        until(lambda: heartbeat(tmp_path / "ledger.db", run_id) > before)
        held_slack.let_go.set()
        assert first.result().status_code == 200


def heartbeat(ledger: Path, run_id: str) -> str:
    with closing(sqlite3.connect(ledger)) as database:
        [[at]] = database.execute("SELECT heartbeat_at FROM runs WHERE run_id = ?", [run_id])
    return str(at)
