"""The OpenAPI document describes the API, and its examples work."""

import re
from typing import Any

import pytest

from api.problems import STATUS
from tests.service import Service


@pytest.fixture
def document(service: Service) -> dict[str, Any]:
    """Return the document as a client gets it."""
    return service.get("/openapi.json")


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _refs(value)]
    return [ref for value in node for ref in _refs(value)] if isinstance(node, list) else []


def test_every_endpoint_and_reference_is_described(document: dict[str, Any]) -> None:
    found = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert found >= {
        ("post", "/runs"),
        ("post", "/preview"),
        ("get", "/runs"),
        ("get", "/runs/{run_id}"),
        ("get", "/runs/{run_id}/alerts"),
        ("get", "/health"),
        ("get", "/metrics"),
    }
    assert document["openapi"].startswith("3.")
    for ref in _refs(document):
        node: Any = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_error_is_problem_details(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            others = {("post", "/runs"): {"202"}, ("get", "/health"): {"503"}}.get((method, path), set())
            assert set(operation["responses"]) == {"200", "default"} | others, (method, path)
            content = operation["responses"]["default"]["content"]
            assert list(content) == ["application/problem+json"]
            schema = content["application/problem+json"]["schema"]
            assert schema["properties"]["code"]["enum"] == list(STATUS)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_body_examples_are_accepted(service: Service, document: dict[str, Any], source: str) -> None:
    properties = document["components"]["schemas"]["RunBody"]["properties"]
    example = {name: schema["examples"][0] for name, schema in properties.items() if "examples" in schema}
    assert set(example) == {"source_uri", "month"}
    # Only the bucket does not exist; the rest of the example must work unchanged.
    assert service.client.post("/preview", json=example | {"source_uri": source}).status_code == 200
    assert example["source_uri"].startswith("gs://")


def test_docs_page_exists(service: Service) -> None:
    answer = service.client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")


def test_docs_page_needs_no_other_host(service: Service) -> None:
    page = service.client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    for path in loaded:
        assert path.startswith("/")
        assert service.client.get(path).status_code == 200
