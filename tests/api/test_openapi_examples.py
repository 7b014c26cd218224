"""The OpenAPI document has an example of a real answer for each endpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api.operations import Health
from api.runs import RunStarted
from core.alerts import PreviewView
from core.ledger import AlertPage, OutcomePage, OutcomeView, RunPage, RunView
from examples.make_openapi_examples import openapi_examples
from tests.service import Service

KEPT = Path(__file__).parents[2] / "api" / "examples.json"


@pytest.mark.parametrize(
    ("method", "path", "status", "model"),
    [
        ("post", "/runs", "200", RunStarted),
        ("post", "/runs", "202", RunStarted),
        ("post", "/preview", "200", PreviewView),
        ("get", "/runs", "200", RunPage),
        ("get", "/runs/{run_id}", "200", RunView),
        ("get", "/runs/{run_id}/alerts", "200", AlertPage),
        ("get", "/outcomes", "200", OutcomePage),
        ("post", "/outcomes/{month}/{account_id}/resolve", "200", OutcomeView),
        ("get", "/health", "200", Health),
    ],
)
def test_answer_example_matches_its_schema(
    service: Service, method: str, path: str, status: str, model: type[BaseModel]
) -> None:
    responses = service.get("/openapi.json")["paths"][path][method]["responses"]
    content: dict[str, Any] = responses[status]["content"]["application/json"]
    assert content["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
    # Parsed and written again without a difference: no field is missing or unknown.
    assert model.model_validate(content["example"]).model_dump(mode="json") == content["example"]


def test_examples_json_is_up_to_date() -> None:
    """`make examples` writes them again."""
    assert KEPT.read_text(encoding="utf-8") == openapi_examples(), "make examples"


def test_example_run_shows_all_its_alerts() -> None:
    found = json.loads(KEPT.read_text(encoding="utf-8"))
    counts = found["GET /runs/{run_id} 200"]["counts"]
    assert (
        len(found["GET /runs/{run_id}/alerts 200"]["alerts"]) == counts["at_risk"] - counts["below_threshold"]
    )


def test_health_example_is_a_real_answer(service: Service) -> None:
    # In a container, the ledger of the test is reported as not kept.
    found = service.get("/health") | {"warnings": []}
    assert found == json.loads(KEPT.read_text(encoding="utf-8"))["GET /health 200"]
