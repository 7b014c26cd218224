"""Each error is a problem with the contract's code; a run that was begun is stored as failed."""

import json
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.service import READERS_AT_ONCE
from core.domain import LedgerError
from core.ledger import History
from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.service import COUNTS, MONTH, Service, problem_of, write_source
from tests.waiting import HANG_SECONDS, until

INVALID: dict[str, list[Any]] = {
    "source_uri": [
        *("", 1, None, ["file:///x"], "x" * 5000),
        # URIs without a file or folder.
        *("file://host/x.parquet", "gs://", "s3://bucket/a\nb", "file:///x\x00y", "file:///\ud800"),
    ],
    "month": [
        *("2026-01-15", "2026-13-01", "0000-01-01", "2026-1-1", "2026-01-01T00:00:00", " 2026-01-01"),
        *("January", "", 20260101, None, True, [MONTH]),
    ],
    "dry_run": ["true", 1, 0, None],
    "retry_unconfirmed": ["yes"],
    "unknown": [1],
}


@pytest.mark.parametrize("path", ["/runs", "/preview"])
@pytest.mark.parametrize("name", INVALID)
def test_invalid_field_is_named_and_begins_no_run(service: Service, path: str, name: str) -> None:
    for value in INVALID[name]:
        body = {"source_uri": "file:///x", "month": MONTH, name: value}
        # In ASCII: JSON can hold half a surrogate pair, UTF-8 cannot.
        answer = service.client.post(
            path, content=json.dumps(body), headers={"content-type": "application/json"}
        )
        found = problem_of(answer)
        assert (answer.status_code, found["code"]) == (422, "invalid_request"), value
        assert name in found["detail"], value
        assert "run_id" not in found
        assert "retry-after" not in answer.headers
    assert service.runs() == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "source_uri: is missing; month: is missing"),
        (
            {"source_uri": 5, "month": MONTH, "dry_run": "yes", "x": 1},
            "source_uri: must be a valid string; dry_run: must be a valid boolean; x: is unknown; remove it",
        ),
        (
            {"source_uri": "file:///x", "month": "2026-01-15"},
            "month: must be the first day of a month: 2026-01-01, not 2026-01-15",
        ),
    ],
)
def test_invalid_field_has_a_plain_reason(service: Service, body: Any, detail: str) -> None:
    assert problem_of(service.client.post("/runs", json=body))["detail"] == detail


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/no/such/path", None),
        ("GET", "/runs/", None),
        ("DELETE", "/runs", "GET, HEAD, POST"),
        ("PUT", "/runs/x", "GET, HEAD"),
        ("GET", "/preview", "POST"),
        ("OPTIONS", "/outcomes", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
def test_unknown_path_or_method_is_a_problem(
    service: Service, method: str, path: str, allowed: str | None
) -> None:
    answer = service.client.request(method, path)
    found = problem_of(answer)
    code = "method_not_allowed" if allowed else "not_found"
    assert (found["status"], found["code"]) == (405 if allowed else 404, code)
    assert answer.headers.get("allow") == allowed
    assert (allowed or "/docs") in found["detail"]


@pytest.mark.parametrize(("path", "status"), [("/no/such/path", 404), ("/", 200)])
def test_answer_without_the_ledger_waits_for_no_read_of_it(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    begun, release = [], threading.Event()

    def hang(*_: object, **__: object) -> None:
        begun.append(1)
        release.wait(HANG_SECONDS)
        raise LedgerError("hung")

    monkeypatch.setattr(History, "runs", hang)
    with ThreadPoolExecutor(READERS_AT_ONCE) as readers:
        reading = [readers.submit(service.client.get, "/runs") for _ in range(READERS_AT_ONCE)]
        until(lambda: len(begun) == READERS_AT_ONCE)
        try:
            assert service.client.get(path, timeout=60).status_code == status
        finally:
            release.set()
        assert {answer.result().status_code for answer in reading} == {503}


def bad_sources(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the URI of each bad source with the status and the code of its problem."""
    here = folder.as_uri()
    write_source(folder / "whole.parquet")
    whole = (folder / "whole.parquet").read_bytes()
    (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "text.parquet").write_text("account_id,month\nA,2026-01-01\n")
    return {
        f"{here}/no.parquet": (404, "source_not_found"),
        f"{here}/no_folder/": (404, "source_not_found"),
        "https://host/status.parquet": (400, "source_scheme_unsupported"),
        "/data/status.parquet": (400, "source_scheme_unsupported"),
        "file:///etc/passwd": (400, "source_not_allowed"),
        f"{here}/../../x.parquet": (400, "source_not_allowed"),
        f"{here}/text.parquet": (422, "source_invalid"),
        f"{here}/half.parquet": (422, "source_invalid"),
        write_source(folder / "x.parquet", without="status"): (422, "source_invalid"),
    }


def test_bad_source_is_a_stored_failed_run(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    service = serve(ALLOWED_SOURCES=json.dumps([tmp_path.as_uri()]))
    for uri, expected in bad_sources(tmp_path).items():
        preview, found = (problem_of(service.post(path, uri)) for path in ("/preview", "/runs"))
        assert (preview["status"], preview["code"]) == (found["status"], found["code"]) == expected, uri
        run = service.get(f"/runs/{found['run_id']}")
        assert (run["status"], run["source_uri"]) == ("failed", uri)
        assert run["error"] == {"code": found["code"], "message": found["detail"]}
        assert run["finished_at"]
    assert {run["status"] for run in service.runs()} == {"failed"}
    assert slack.messages == []


def test_run_without_slack_fails_unless_dry(serve: Serve, source: str) -> None:
    service = serve(SLACK_WEBHOOK_BASE_URL="")
    # In the second month there is nothing to send.
    for month in (MONTH, "2030-01-01"):
        found = problem_of(service.post("/runs", source, month))
        assert (found["status"], found["code"]) == (422, "slack_not_configured")
        assert service.get(f"/runs/{found['run_id']}")["error"]["code"] == "slack_not_configured"
    assert service.run(source, dry_run=True)["counts"]["would_send"] == 2


def test_run_over_its_limit_sends_nothing(serve: Serve, source: str, slack: MockSlack) -> None:
    over = serve(MAX_ALERTS_PER_RUN="1")
    found = problem_of(over.post("/runs", source))
    assert (found["status"], found["code"], slack.messages) == (409, "too_many_alerts", [])
    counts = over.get(f"/runs/{found['run_id']}")["counts"]
    assert counts == COUNTS | {"alerts_sent": 0, "failed_deliveries": 3}
    assert serve(MAX_ALERTS_PER_RUN="2").run(source)["counts"] == COUNTS


@pytest.mark.parametrize(
    ("empty", "named"),
    [
        (["REGIONS"], ["REGIONS"]),
        (["REGIONS", "SLACK_WEBHOOK_BASE_URL"], ["SLACK_WEBHOOK_BASE_URL", "SLACK_WEBHOOK_URL", "REGIONS"]),
    ],
)
def test_health_and_log_name_the_settings_that_are_missing(
    serve: Serve, empty: list[str], named: list[str]
) -> None:
    service = serve(**dict.fromkeys(empty, ""))
    answer = service.client.get("/health")
    health = answer.json()
    assert (answer.status_code, health["status"], health["ledger"]) == (503, "unavailable", "ok")
    assert re.findall(r"[A-Z_]{4,}", health["settings"]) == named
    [warned] = re.findall("Not set: (.*)", service.log.getvalue())
    assert re.findall(r"[A-Z_]{4,}", warned) == named


def test_unusable_ledger_sends_nothing(serve: Serve, source: str, slack: MockSlack, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    service = serve(DATABASE_URL=f"sqlite:///{tmp_path}/folder")
    for answer in (
        service.post("/runs", source),
        service.post("/preview", source),
        service.client.get("/runs"),
        service.client.get("/runs/x"),
        service.client.get("/runs/x/alerts"),
        service.client.get("/metrics"),
    ):
        assert (answer.status_code, problem_of(answer)["code"]) == (503, "ledger_unavailable")
    assert slack.messages == []
    health = service.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert "folder" in health.json()["ledger"]
    assert health.json()["settings"] == "ok"
    # It is opened again without a restart, also when its file is removed later.
    (tmp_path / "folder").rmdir()
    assert service.client.get("/health").status_code == 200
    old = service.run(source)
    for file in tmp_path.glob("folder*"):
        file.unlink()
    assert service.runs() == []
    assert service.run(source)["run_id"] != old["run_id"]


def test_health_does_not_wait_for_a_locked_ledger(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.operations.CHECK_SECONDS", 0.2)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # The first check still waits in the one thread when the second is asked for.
        for _ in range(2):
            health = service.client.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "unavailable")
            assert "did not commit a write" in health.json()["ledger"]
