"""The API behind a real uvicorn on a free port, with a small source."""

import io
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from core.runtime import load_settings, redaction
from examples.make_sample import SCHEMA
from tests.waiting import HANG_SECONDS, until

MONTH = "2026-01-01"


def row(account_id: str, month: str = MONTH, status: str = "At Risk", **other: Any) -> dict[str, Any]:
    """Return a row of the source, by default of an account of AMER that alerts."""
    return {
        "account_id": account_id,
        "account_name": f"Name of {account_id}",
        "account_region": "AMER",
        "month": date.fromisoformat(month),
        "status": status,
        "renewal_date": None,
        "account_owner": None,
        "arr": 50_000,
        "updated_at": datetime(2026, 1, 20, tzinfo=UTC),
        **other,
    }


ACME: dict[str, Any] = {
    "account_name": "Acme & <Co>",
    "arr": 1_234_567,
    "renewal_date": date(2026, 6, 30),
    "account_owner": "Ana Sousa",
}

ROWS = [
    row("A/1", "2025-11-01", **ACME),
    row("A/1", "2025-12-01", **ACME),
    row("A/1", status="Healthy", **{**ACME, "updated_at": datetime(2026, 1, 2, tzinfo=UTC)}),
    row("A/1", **ACME),
    row("B", account_name="Bolt", account_region="EMEA", arr=None),
    row("C", account_name="Cargo", account_region="LATAM"),
    row("D", account_name="Dent", arr=9_999),
    row("E", account_name="Elm", status="Healthy"),
]
"""One alert for each region that has a channel, one for a region that has none, one below the threshold."""

COUNTS = {
    "rows_scanned": 8,
    "duplicates_found": 1,
    "at_risk": 4,
    "recovered": 0,
    "below_threshold": 1,
    "alerts_sent": 2,
    "skipped_replay": 0,
    "failed_deliveries": 1,
    "would_send": 0,
    "unknown_region": 1,
    "unconfirmed": 0,
}
"""The counts of a first run of `ROWS`."""

ACME_ALERT = {
    "account_id": "A/1",
    "alert_type": "at_risk",
    "account_name": "Acme & <Co>",
    "account_region": "AMER",
    "arr": 1_234_567,
    "renewal_date": "2026-06-30",
    "account_owner": "Ana Sousa",
    "duration_months": 3,
    "risk_start_month": "2025-11-01",
    "channel": "amer-risk-alerts",
}
"""What the API shows of the alert of Acme, whatever became of it."""

ACME_TEXT = """\
🚩 At Risk: Acme &amp; &lt;Co&gt; (A/1)
Region: AMER
At Risk for: 3 months (since 2025-11-01)
ARR: $1,234,567
Renewal date: 2026-06-30
Owner: Ana Sousa
Details: https://app.yourcompany.com/accounts/A%2F1"""

BOLT_TEXT = """\
🚩 At Risk: Bolt (B)
Region: EMEA
At Risk for: 1 month (since 2026-01-01)
ARR: Unknown
Renewal date: Unknown
Details: https://app.yourcompany.com/accounts/B"""


def write_source(path: Path, rows: list[dict[str, Any]] | None = None, *, without: str = "") -> str:
    """Write a source of the rows, by default `ROWS`; return its URI."""
    table = pa.Table.from_pylist(ROWS if rows is None else rows, schema=SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.drop_columns([without]) if without else table, path)
    return path.as_uri()


def variables(slack_url: str, folder: Path, **more: str) -> dict[str, str]:
    """Return all the settings that a run needs: it waits for nothing, and its ledger is in the folder."""
    return {
        "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "SLACK_WEBHOOK_BASE_URL": slack_url,
        "SLACK_CHANNEL_RATE": "0",
        "SLACK_BACKOFF_SECONDS": "0",
        "REGIONS": '{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}',
        **more,
    }


PATIENT = (
    "api.operations.CHECK_SECONDS",
    "flows.artifacts.PUBLISH_SECONDS",
    "flows.prefect_engine.BEGIN_SECONDS",
    "flows.prefect_engine.FINISH_SECONDS",
    "flows.prefect_engine.PROBE_SECONDS",
)
"""Limits that the ledger or Prefect may exceed on a busy machine; a served API waits longer."""

ASYNC = {"Prefer": "respond-async"}


def closed_port() -> int:
    """Return a port that refuses connections until a server that the test starts listens on it."""
    # Bound but not listening until this process ends: no other program gets the port.
    closed = socket.socket()
    closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    closed.bind(("127.0.0.1", 0))
    port: int = closed.getsockname()[1]
    if sys.platform == "darwin":
        # macOS lets no second socket bind the port.
        closed.close()
    else:
        closed.detach()
    return port


def answers(url: str) -> bool:
    """Return whether a server answers, without an HTTP client, which would load certificates each time."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5):
            return True
    except OSError:
        return False


Samples = dict[tuple[str, str], float]
"""Values of metrics by name and labels."""


@dataclass(frozen=True)
class Service:
    url: str
    client: httpx.Client
    log: io.StringIO

    def post(
        self, path: str, source_uri: str, month: str = MONTH, headers: Any = None, **body: Any
    ) -> httpx.Response:
        body |= {"source_uri": source_uri, "month": month}
        return self.client.post(path, json=body, headers=headers)

    def run(self, source_uri: str, month: str = MONTH, **body: Any) -> dict[str, Any]:
        """Run a month, assert that it succeeded, and return the stored run."""
        answer = self.post("/runs", source_uri, month, **body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["run_id"]
        return self.get(f"/runs/{answer.json()['run_id']}")

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def scrape(self) -> Samples:
        """Return the samples of a scrape, parsed as Prometheus does."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name.removeprefix("risk_alerts_"), " ".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/runs")["runs"]
        return found


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """Assert that the answer is a complete problem document, and return it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) - {"run_id"} == {"type", "title", "status", "code", "detail"}
    assert body["status"] == answer.status_code
    assert "_" not in body["title"], "it is the code in words"
    assert body["detail"]
    assert "\n" not in body["detail"]
    assert "Traceback" not in body["detail"]
    return body


@contextmanager
def served(environment: dict[str, str]) -> Iterator[Service]:
    """Serve the API in a thread with these settings; clean up afterwards."""
    # Imported here, because the import takes seconds, and most tests do not need it.
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415

    from api.service import create_app  # noqa: PLC0415

    log = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, process_restored():
        for limit in PATIENT:
            patch.setattr(limit, HANG_SECONDS)
        patch.setattr(sys, "stderr", log)
        for name, value in environment.items():
            patch.setenv(name, value)
        # Prefect reads its settings at import; to read them again takes longer than the whole service.
        of_prefect = any(name.startswith("PREFECT_") for name in environment)
        if of_prefect:
            refresh_global_settings_context()
        server = uvicorn.Server(
            uvicorn.Config(create_app(load_settings()), log_config=None, log_level="info")
        )
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started, log.getvalue()
            with httpx.Client(base_url=url, timeout=HANG_SECONDS) as client:
                yield Service(url, client, log)
        finally:
            server.should_exit = True
            thread.join()
            listener.close()
    if of_prefect:
        refresh_global_settings_context()


@contextmanager
def process_restored() -> Iterator[None]:
    """Restore what the product changes for its whole process: its loggers, and the secrets it masks."""
    ours = ("api", "cli", "core", "flows", "tasks")
    of_prefect = ("prefect", "EventsWorker", "APILogWorker")
    of_servers = ("fastapi", "httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in ("", "py.warnings", *ours, *of_prefect, *of_servers)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_secrets", {*redaction._secrets})
        patch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
        try:
            yield
        finally:
            for logger, handlers, level, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
                logger.setLevel(level)
