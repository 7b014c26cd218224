"""The headers of every answer, and the limit of a body."""

import json
from collections.abc import Iterator

import pytest

from api.problems import BODY_MAX
from tests.conftest import Serve
from tests.service import MONTH, Service, problem_of


def test_no_answer_is_stored_or_framed(serve: Serve) -> None:
    service = serve(API_TOKEN="canary-token")
    token = {"Authorization": "Bearer canary-token"}
    answers = [
        service.client.get("/runs", headers=token),
        service.client.get("/docs", headers=token),
        service.client.get("/runs"),
        service.client.get("/no/such/path", headers=token),
        service.client.post("/runs", headers=token, content=b"x" * (BODY_MAX + 1)),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 404, 413]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Accept"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


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
