"""Each error is a problem with the contract's code; a run that was begun is stored as failed."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.delivery.world import execute
from tests.service import MONTH, Service, adds_up, closed_port, problem_of, row, write_source

BODIES: list[Any] = [
    {},
    {"month": MONTH},
    {"source_uri": "file:///x"},
    {"source_uri": "file:///x", "month": MONTH, "unknown": 1},
    *(
        {"source_uri": "file:///x", "month": month}
        for month in (
            "2026-01-15",
            "2026-13-01",
            "0000-01-01",
            "2026-1-1",
            "2026-01-01T00:00:00",
            " 2026-01-01",
            "January",
            "",
            20260101,
            None,
            True,
            [MONTH],
        )
    ),
    *({"source_uri": uri, "month": MONTH} for uri in ("", 1, None, ["file:///x"], "x" * 5000)),
    *({"source_uri": "file:///x", "month": MONTH, "dry_run": flag} for flag in ("true", 1, 0, None)),
    {"source_uri": "file:///x", "month": MONTH, "retry_unconfirmed": "yes"},
    # URIs without a file or folder.
    {"source_uri": "file://host/x.parquet", "month": MONTH},
    {"source_uri": "gs://", "month": MONTH},
    {"source_uri": "s3://bucket/a\nb", "month": MONTH},
    {"source_uri": "file:///x\x00y", "month": MONTH},
    {"source_uri": "file:///\ud800", "month": MONTH},
    [],
    "text",
    None,
    1,
]


@pytest.mark.parametrize("path", ["/runs", "/preview"])
def test_invalid_body_begins_no_run(service: Service, path: str) -> None:
    for body in BODIES:
        answer = service.client.post(
            path, content=json.dumps(body), headers={"content-type": "application/json"}
        )
        found = problem_of(answer)
        assert (answer.status_code, found["code"], "run_id" in found) == (422, "invalid_request", False), body
    assert service.runs() == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b'{"month": NaN', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"source_uri": "file:///x", "month": "2026-01-01"}', "text/plain"),
        (b"source_uri=file:///x&month=2026-01-01", "application/x-www-form-urlencoded"),
    ],
)
def test_body_must_be_json(service: Service, content: bytes, kind: str) -> None:
    answer = service.client.post("/runs", content=content, headers={"content-type": kind})
    assert (answer.status_code, problem_of(answer)["code"]) == (422, "invalid_request")


def test_problem_names_the_field_not_its_value(service: Service) -> None:
    detail = problem_of(service.post("/runs", "file:///x", "2026-01-15"))["detail"]
    assert detail == "month must be the first day of a month: 2026-01-01, not 2026-01-15"
    answer = service.client.post(
        "/runs", json={"source_uri": ["hunter2"], "month": MONTH, "extra": "hunter2"}
    )
    assert "source_uri: " in answer.text
    assert "extra: " in answer.text
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "the body: must be a JSON object"),
        ({}, "source_uri: is missing; month: is missing"),
        (
            {"source_uri": 5, "month": MONTH, "dry_run": "yes", "x": 1},
            "source_uri: must be a valid string; dry_run: must be a valid boolean; x: is unknown; remove it",
        ),
        ({"source_uri": "", "month": MONTH}, "source_uri: must have at least 1 character"),
        ({"source_uri": "x" * 5000, "month": MONTH}, "source_uri: must have at most 4096 characters"),
    ],
)
def test_invalid_field_has_a_plain_reason(service: Service, body: Any, detail: str) -> None:
    assert problem_of(service.client.post("/runs", json=body))["detail"] == detail


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit: must be greater than or equal to 1"),
        ("limit=1001", "limit: must be less than or equal to 1000"),
        ("limit=1.5", "limit: must be a valid integer, unable to parse string as an integer"),
        ("status=done", "status: must be 'running', 'succeeded' or 'failed'"),
    ],
)
def test_invalid_filter_has_a_plain_reason(service: Service, query: str, detail: str) -> None:
    assert problem_of(service.client.get(f"/runs?{query}"))["detail"] == detail


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/path", 404),
        ("GET", "/runs/", 404),
        ("DELETE", "/runs", 405),
        ("GET", "/preview", 405),
        ("POST", "/health", 405),
        ("PUT", "/runs/x", 405),
    ],
)
def test_unknown_path_or_method_is_a_problem(service: Service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)
    assert problem_of(answer)["status"] == answer.status_code == status
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/runs", "GET, POST"),
        ("/runs/x", "GET"),
        ("/preview", "POST"),
        ("/outcomes", "GET"),
        ("/health", "GET"),
    ],
)
def test_405_lists_the_allowed_methods(service: Service, path: str, methods: str) -> None:
    answer = service.client.request("OPTIONS", path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, methods)


def _truncated(folder: Path) -> str:
    uri = write_source(folder / "whole.parquet")
    whole = (folder / "whole.parquet").read_bytes()
    (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
    return uri.replace("whole", "half")


def _text(folder: Path) -> str:
    (folder / "text.parquet").write_text("account_id,month\nA,2026-01-01\n")
    return (folder / "text.parquet").as_uri()


SOURCES: dict[str, tuple[int, str, Callable[[Path], str]]] = {
    "nothing is there": (404, "source_not_found", lambda folder: (folder / "no.parquet").as_uri()),
    "an empty folder": (404, "source_not_found", lambda folder: folder.as_uri() + "/none/"),
    "a scheme of no store": (400, "source_scheme_unsupported", lambda _: "https://host/status.parquet"),
    "no scheme": (400, "source_scheme_unsupported", lambda _: "/data/status.parquet"),
    "not allowed": (400, "source_not_allowed", lambda _: "file:///etc/passwd"),
    "not allowed by dots": (400, "source_not_allowed", lambda folder: f"{folder.as_uri()}/../../x.parquet"),
    "a text file": (422, "source_invalid", _text),
    "half a file": (422, "source_invalid", _truncated),
    "a column missing": (
        422,
        "source_invalid",
        lambda folder: write_source(folder / "x.parquet", without="status"),
    ),
}


def test_bad_source_is_a_stored_failed_run(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    service = serve(ALLOWED_SOURCES=json.dumps([tmp_path.as_uri()]))
    for why, (status, code, make) in SOURCES.items():
        uri = make(tmp_path)
        preview = service.post("/preview", uri)
        assert (preview.status_code, problem_of(preview)["code"]) == (status, code), why
        answer = service.post("/runs", uri)
        found = problem_of(answer)
        assert (answer.status_code, found["code"]) == (status, code), why
        run = service.get(f"/runs/{found['run_id']}")
        assert (run["status"], run["source_uri"]) == ("failed", uri), why
        assert run["error"] == {"code": code, "message": found["detail"]}, why
        assert run["finished_at"]
    assert len(service.get("/runs", status="failed")["runs"]) == len(SOURCES)
    assert slack.messages == []


def test_run_without_slack_fails_unless_dry(serve: Serve, source: str) -> None:
    service = serve(SLACK_WEBHOOK_BASE_URL="")
    answer = service.post("/runs", source)
    found = problem_of(answer)
    assert (answer.status_code, found["code"]) == (422, "slack_not_configured")
    assert service.get(f"/runs/{found['run_id']}")["error"]["code"] == "slack_not_configured"
    assert service.run(source, dry_run=True)["counts"]["would_send"] == 2


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"REGIONS": ""}, "REGIONS"),
        (
            {"REGIONS": "", "SLACK_WEBHOOK_BASE_URL": ""},
            "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL, REGIONS",
        ),
    ],
)
def test_health_names_the_settings_that_are_missing(
    serve: Serve, settings: dict[str, str], missing: str
) -> None:
    answer = serve(**settings).client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert (answer.json()["ledger"], answer.json()["settings"]) == ("ok", f"missing: {missing}")


def test_too_many_alerts_send_none(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    source = write_source(tmp_path / "many.parquet", [row("A"), row("B"), row("C", account_region=None)])
    service = serve(MAX_ALERTS_PER_RUN="1")
    answer = service.post("/runs", source)
    found = problem_of(answer)
    assert (answer.status_code, found["code"]) == (409, "too_many_alerts")
    run = service.get(f"/runs/{found['run_id']}")
    assert (run["status"], run["error"]["code"]) == ("failed", "too_many_alerts")
    assert run["counts"]["at_risk"] == run["counts"]["failed_deliveries"] == 3
    assert adds_up(run["counts"])
    assert slack.messages == []
    assert serve(MAX_ALERTS_PER_RUN="2").run(source)["counts"]["alerts_sent"] == 2


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
            assert "takes no commit" in health.json()["ledger"]


def test_run_that_is_not_closed_is_closed_by_the_next(serve: Serve, source: str, tmp_path: Path) -> None:
    service = serve()
    execute(
        tmp_path / "ledger.db",
        "CREATE TRIGGER broken BEFORE UPDATE ON runs WHEN NEW.status <> 'running'"
        " BEGIN SELECT RAISE(ABORT, 'disk on fire'); END",
    )
    answer = service.post("/runs", source)
    found = problem_of(answer)
    assert (answer.status_code, found["code"]) == (503, "ledger_unavailable")
    assert service.get(f"/runs/{found['run_id']}")["status"] == "running"
    execute(tmp_path / "ledger.db", "DROP TRIGGER broken")
    service.run(source)
    run = service.get(f"/runs/{found['run_id']}")
    assert (run["status"], run["error"]["code"]) == ("failed", "ledger_unavailable")


def test_ledger_is_opened_again_without_a_restart(serve: Serve, source: str, tmp_path: Path) -> None:
    """It was not usable at the start, and its file is removed later."""
    ledger = tmp_path / "folder"
    ledger.mkdir()
    service = serve(DATABASE_URL=f"sqlite:///{ledger}")
    assert service.client.get("/health").status_code == 503
    ledger.rmdir()
    assert service.client.get("/health").status_code == 200
    old = service.run(source)
    for file in tmp_path.glob("folder*"):
        file.unlink()
    assert service.runs() == []
    assert service.run(source)["run_id"] != old["run_id"]


def test_ledger_inside_a_container_is_warned_of(serve: Serve, tmp_path: Path) -> None:
    if any(folder.is_mount() for folder in tmp_path.parents[:-1]):
        pytest.skip("the folder for temporary files is a mount, which outlives a container")
    service = serve(KUBERNETES_SERVICE_HOST="10.0.0.1")
    health = service.get("/health")
    assert health["status"] == "ok"
    [warning] = health["warnings"]
    assert "will be lost" in warning
    assert "DATABASE_URL" in warning
    assert warning in service.log.getvalue()


def test_unreachable_prefect_begins_no_run(serve: Serve, source: str, slack: MockSlack) -> None:
    service = serve(PREFECT_API_URL=f"http://127.0.0.1:{closed_port()}/api")
    answer = service.post("/runs", source)
    found = problem_of(answer)
    assert (answer.status_code, found["code"]) == (503, "orchestrator_unreachable")
    assert "run_id" not in found
    assert (service.runs(), slack.messages) == ([], [])
    assert service.post("/preview", source).status_code == 200
    assert service.client.get("/health").status_code == 200
