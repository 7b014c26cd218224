"""Variants of a request, such as content types, encodings and HEAD; and the headers of every answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.problems import BODY_MAX
from examples.mock_slack import MockSlack
from tests.conftest import Serve, services
from tests.service import MONTH, Service, problem_of

JSON = "application/json"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("requests")
    with MockSlack() as slack, services(slack, folder) as start:
        yield start()


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "text/plain; application/json",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "nonsense",
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/preview", f"/outcomes/{MONTH}/A/resolve"])
def test_only_json_is_accepted(service: Service, path: str, kind: str | None) -> None:
    """Without a CORS preflight, another site's page may send the first six, with the user's password."""
    headers = {} if kind is None else {"content-type": kind}
    body = json.dumps({"source_uri": "file:///x", "month": MONTH})
    found = problem_of(service.client.post(path, content=body, headers=headers))
    assert (found["status"], found["code"]) == (422, "invalid_request")
    assert "Content-Type: application/json" in found["detail"]
    assert service.runs() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body: is missing"),
        (b"{", "not JSON at character 1"),
        (b'{"month": NaN', "not JSON at character"),
        (b"\xff\xfe", "not JSON at character"),
        ('{"source_uri": "file:///z\u00fcrich"}'.encode("latin-1"), "cannot be read as JSON in UTF-8"),
        (b"[" * 100_000, "cannot be read as JSON in UTF-8"),
        (b"[]", "the body: must be a JSON object"),
        (b'"text"', "the body: must be a JSON object"),
        (b"null", "the body: is missing"),
        (b"1", "the body: must be a JSON object"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_body_that_is_no_json_object_is_refused(service: Service, body: bytes, reason: str) -> None:
    found = problem_of(service.client.post("/runs", content=body, headers={"content-type": JSON}))
    assert (found["status"], found["code"]) == (422, "invalid_request")
    assert reason in found["detail"]


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        ("utf-8-sig", JSON),
        ("utf-16", JSON),
        ("utf-8", f"{JSON}; charset=latin-1"),
        ("utf-8", "Application/JSON;charset=UTF-8"),
        ("utf-8", "application/vnd.alerts+json"),
    ],
)
def test_json_is_read_in_each_encoding(service: Service, encoding: str, kind: str) -> None:
    body = json.dumps({"source_uri": "file:///no/z\u00fcrich", "month": MONTH}, ensure_ascii=False)
    answer = service.client.post("/preview", content=body.encode(encoding), headers={"content-type": kind})
    assert problem_of(answer)["code"] == "source_not_found"
    assert "z\u00fcrich" in answer.json()["detail"]


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.mark.parametrize("path", ["/runs", "/preview"])
def test_body_too_large_is_refused(service: Service, path: str) -> None:
    for size in (BODY_MAX + 1, BODY_MAX * 8):
        for content in (b"x" * size, _chunks(b"x" * size)):
            found = problem_of(service.client.post(path, content=content, headers={"content-type": JSON}))
            assert (found["status"], found["code"]) == (413, "request_too_large")
            assert str(BODY_MAX) in found["detail"]


def test_largest_body_is_read_whole(service: Service, source: str) -> None:
    body = json.dumps({"source_uri": source, "month": MONTH}).encode().ljust(BODY_MAX)
    for content in (body, _chunks(body)):
        answer = service.client.post("/preview", content=content, headers={"content-type": JSON})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/runs", "/runs/x", "/runs/x/alerts", "/outcomes", "/metrics", "/docs", "/preview"],
)
def test_head_is_get_without_a_body(service: Service, path: str) -> None:
    head, get = service.client.head(path), service.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    for header in ("content-type", "content-length"):
        assert head.headers[header] == get.headers[header] or path == "/metrics"


def test_double_encoded_id_is_not_decoded_twice(service: Service) -> None:
    body = {"decision": "delivered", "by": "ana"}
    for answer in (
        service.client.get("/runs/a%252Fb"),
        service.client.get("/runs/a%252Fb/alerts"),
        service.client.post(f"/outcomes/{MONTH}/a%252Fb/resolve", json=body),
    ):
        assert "'a%2Fb'" in problem_of(answer)["detail"]


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
