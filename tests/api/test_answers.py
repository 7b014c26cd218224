"""The headers of every answer, the request ID, and the limit of a body."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from api.problems import BODY_MAX
from tests.conftest import Serve
from tests.service import MONTH, Service, problem_of
from tests.waiting import until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def lines_of(service: Service, request_id: str, *loggers: str) -> list[dict[str, str]]:
    """Return the log lines of a request, once each of these loggers has written one."""

    def complete() -> list[dict[str, str]]:
        lines = [json.loads(line) for line in service.log.getvalue().splitlines()]
        found = [line for line in lines if line.get("request_id") == request_id]
        return found if {line["logger"] for line in found} >= {*loggers} else []

    return until(complete, service.log.getvalue)


@pytest.mark.parametrize("given", ["a", "req-1", "01J.X:Y_z-9", "x" * 128])
def test_well_formed_request_id_is_kept(service: Service, given: str) -> None:
    answer = service.client.get("/health", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a,b", "{}", "\xe9", "a\tb", "<!channel>"])
def test_malformed_request_id_is_replaced(service: Service, given: str) -> None:
    headers = httpx.Headers({"X-Request-ID": given}, encoding="latin-1")
    answers = [service.client.get("/health", headers=headers) for _ in range(2)]
    made = {answer.headers["x-request-id"] for answer in answers}
    assert len(made) == 2
    assert all(re.fullmatch(UUID, request_id) for request_id in made)


def test_each_log_line_has_the_request_id(serve: Serve, source: str) -> None:
    service = serve(LOG_FORMAT="json")
    body = {"source_uri": source, "month": MONTH}
    headers = {"X-Request-ID": "req-of-the-run"}
    run_id = service.client.post("/runs", json=body, headers=headers).json()["run_id"]
    service.client.get("/runs")
    lines = lines_of(service, "req-of-the-run", "uvicorn.access", "tasks.send")
    access = [line for line in lines if line["logger"] == "uvicorn.access"]
    assert ["POST /runs" in line["message"] for line in access] == [True]
    tasks = [line for line in lines if line["logger"].startswith("tasks.")]
    assert {line["run_id"] for line in tasks} == {run_id}
    assert any(line["logger"] == "tasks.send" for line in tasks)


def test_async_run_logs_its_request_id(serve: Serve, source: str) -> None:
    service = serve(LOG_FORMAT="json")
    body = {"source_uri": source, "month": MONTH}
    headers = {"X-Request-ID": "req-async", "Prefer": "respond-async"}
    assert service.client.post("/runs", json=body, headers=headers).status_code == 202
    assert lines_of(service, "req-async", "uvicorn.access", "tasks.send", "tasks.persist")


def test_text_log_has_the_request_id(serve: Serve) -> None:
    service = serve()
    service.client.get("/runs", headers={"X-Request-ID": "req-text"})
    line = r'"GET /runs HTTP/1\.1" 200 \[req-text\]\n'
    until(lambda: re.search(line, service.log.getvalue()), service.log.getvalue)


def test_every_answer_has_an_id_and_safe_headers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import runs  # noqa: PLC0415

    def broken(_request: object) -> None:
        raise KeyError("a defect")

    service = serve(API_TOKEN="canary-token", LOG_FORMAT="json")
    token = {"Authorization": "Bearer canary-token"}
    answers = [
        service.client.get("/health"),
        service.client.get("/runs"),
        service.client.get("/no/such/path", headers=token),
        service.client.post("/runs", headers=token, content=b"x" * (BODY_MAX + 1)),
    ]
    monkeypatch.setattr(runs, "ledger_of", broken)
    answers.append(service.client.get("/runs", headers=token | {"X-Request-ID": "req-defect"}))
    assert [answer.status_code for answer in answers] == [200, 401, 404, 413, 500]
    for answer in answers:
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answers[-1].headers["x-request-id"] == "req-defect"
    lines = lines_of(service, "req-defect", "uvicorn.error", "uvicorn.access")
    assert any("a defect" in line.get("exception", "") for line in lines)


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, 65536):
        yield b"x" * min(65536, size - start)


@pytest.mark.parametrize("path", ["/runs", "/preview"])
def test_body_too_large_is_refused(service: Service, path: str) -> None:
    for content in (
        b"x" * (BODY_MAX + 1),
        b"x" * (BODY_MAX * 8),
        _chunks(BODY_MAX + 1),
        _chunks(BODY_MAX * 8),
    ):
        answer = service.client.post(path, content=content, headers={"content-type": "application/json"})
        found = problem_of(answer)
        assert (answer.status_code, found["code"]) == (413, "request_too_large")
        assert str(BODY_MAX) in found["detail"]
    assert service.runs() == []


def test_largest_body_is_read_whole(service: Service, source: str) -> None:
    body = json.dumps({"source_uri": source, "month": MONTH}).encode()
    padded = body + b" " * (BODY_MAX - len(body))
    pieces = (padded[start : start + 50_000] for start in range(0, BODY_MAX, 50_000))
    for content in (padded, pieces):
        answer = service.client.post(
            "/preview", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200, answer.text
