"""The OpenAPI document describes the API, and its examples work."""

import re
from typing import Any

import pytest

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
            for status, response in operation["responses"].items():
                if status[0] in "45" and (path, status) != ("/health", "503"):
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_problem_example_has_its_code_and_status(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                problems = response.get("content", {}).get("application/problem+json", {})
                for code, example in problems.get("examples", {}).items():
                    found = example["value"]
                    assert (found["code"], str(found["status"])) == (code, status)
                    assert found["detail"].strip()


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/runs", {"200", "202", "400", "401", "404", "409", "413", "422", "429", "500", "502", "503"}),
        ("/preview", {"200", "400", "401", "404", "409", "413", "422", "429", "500", "502", "503"}),
    ],
)
def test_each_status_of_the_contract_is_described(
    document: dict[str, Any], path: str, statuses: set[str]
) -> None:
    assert set(document["paths"][path]["post"]["responses"]) == statuses


def test_health_is_described_without_a_token(document: dict[str, Any]) -> None:
    assert "401" not in document["paths"]["/health"]["get"]["responses"]


def test_document_is_the_same_each_time(service: Service, document: dict[str, Any]) -> None:
    """FastAPI keeps the document that it generates, so that each request completes the same one."""
    assert service.get("/openapi.json") == service.get("/openapi.json") == document


def test_run_id_links_to_its_operations(document: dict[str, Any]) -> None:
    operations = {
        operation["operationId"]: path
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    for status in ("200", "202"):
        links = document["paths"]["/runs"]["post"]["responses"][status]["links"]
        leads = {operations[link["operationId"]] for link in links.values()}
        assert leads == {"/runs/{run_id}", "/runs/{run_id}/alerts"}
        assert all(link["parameters"] == {"run_id": "$response.body#/run_id"} for link in links.values())


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
