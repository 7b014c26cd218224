"""The OpenAPI document describes the API, and its examples work."""

import re
from typing import Any

import pytest

from api.problems import STATUS
from tests.service import Service


@pytest.fixture
def document(service: Service) -> dict[str, Any]:
    return service.get("/openapi.json")


def test_every_reference_and_answer_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    assert "securitySchemes" not in document["components"], "without a token, there is no login"
    references = re.findall(r"'\$ref': '#/([^']+)'", str(document))
    assert references
    for reference in references:
        node: Any = document
        for part in reference.split("/"):
            node = node[part]
        assert node
    metrics = document["paths"]["/metrics"]["get"]["responses"]["200"]
    assert list(metrics["content"]) == ["text/plain; version=0.0.4; charset=utf-8"]
    assert list(document["paths"]["/runs"]["post"]["responses"]["202"]["headers"]) == ["Location"]


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
    properties = document["components"]["schemas"]["RunRequest"]["properties"]
    example = {name: schema["examples"][0] for name, schema in properties.items() if "examples" in schema}
    assert set(example) == {"source_uri", "month"}
    # Only the bucket does not exist; the rest of the example must work unchanged.
    assert service.client.post("/preview", json=example | {"source_uri": source}).status_code == 200
    assert example["source_uri"].startswith("gs://")
