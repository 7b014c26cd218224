"""Variants of a request: other content types, encodings, HEAD, encoded ids."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.mock_slack import MockSlack
from tests.conftest import services
from tests.service import MONTH, Service, problem_of


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield one API for the module."""
    folder: Path = tmp_path_factory.mktemp("requests")
    with MockSlack() as slack, services(slack, folder) as start:
        yield start()


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/json",
        "multipart/form-data; boundary=x",
        "nonsense",
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/preview", f"/outcomes/{MONTH}/A/resolve"])
def test_wrong_content_type_is_named(service: Service, path: str, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = service.client.post(path, content=b'{"month": "2026-01-01"}', headers=headers)
    assert (answer.status_code, problem_of(answer)["detail"]) == (
        422,
        "the body: must be JSON, sent with the header Content-Type: application/json",
    )


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        ("utf-8-sig", "application/json"),
        ("utf-16", "application/json"),
        ("utf-8", "application/json; charset=latin-1"),
        ("utf-8", "Application/JSON;charset=UTF-8"),
        ("utf-8", "application/vnd.alerts+json"),
    ],
)
def test_json_is_read_in_each_encoding(service: Service, encoding: str, kind: str) -> None:
    body = json.dumps({"source_uri": "file:///no/z\u00fcrich", "month": MONTH}, ensure_ascii=False)
    answer = service.client.post("/preview", content=body.encode(encoding), headers={"content-type": kind})
    assert problem_of(answer)["code"] == "source_not_found"
    assert "z\u00fcrich" in answer.json()["detail"]


def test_text_that_is_not_utf8_is_named(service: Service) -> None:
    body = '{"source_uri": "file:///z\u00fcrich", "month": "2026-01-01"}'.encode("latin-1")
    answer = service.client.post("/preview", content=body, headers={"content-type": "application/json"})
    assert problem_of(answer)["detail"] == "the body: cannot be read as JSON in UTF-8"


@pytest.mark.parametrize(
    "path", ["/", "/health", "/runs", "/runs/x", "/runs/x/alerts", "/outcomes", "/metrics", "/docs"]
)
def test_head_is_get_without_a_body(service: Service, path: str) -> None:
    head, get = service.client.head(path), service.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    for header in ("content-type", "content-length"):
        assert head.headers[header] == get.headers[header] or path == "/metrics"
    assert service.client.head("/preview").headers["allow"] == "POST"


def test_double_encoded_id_is_not_decoded_twice(service: Service) -> None:
    for path in ("/runs/a%252Fb", "/runs/a%252Fb/alerts"):
        assert "'a%2Fb'" in problem_of(service.client.get(path))["detail"]
    body = {"decision": "delivered", "by": "ana"}
    answer = service.client.post(f"/outcomes/{MONTH}/a%252Fb/resolve", json=body)
    assert "'a%2Fb'" in problem_of(answer)["detail"]


def test_unknown_path_points_to_docs_and_runs(service: Service) -> None:
    assert "/docs" in problem_of(service.client.get("/runs/"))["detail"]
