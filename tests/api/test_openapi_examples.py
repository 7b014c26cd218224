"""The OpenAPI document shows for each endpoint what the real API answers when all is well."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api.operations import Health
from api.runs import RunStarted
from core.ledger import AlertPage, OutcomePage, OutcomeView, PreviewView, RunPage, RunView
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
def test_the_example_of_an_answer_is_of_its_own_schema(
    service: Service, method: str, path: str, status: str, model: type[BaseModel]
) -> None:
    responses = service.get("/openapi.json")["paths"][path][method]["responses"]
    content: dict[str, Any] = responses[status]["content"]["application/json"]
    assert content["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
    # There and back without a difference: no field is missing or unknown, and each is written as served.
    assert model.model_validate(content["example"]).model_dump(mode="json") == content["example"]


def test_the_examples_are_those_of_the_folder() -> None:
    """One that is not true any more is made anew: make examples."""
    assert KEPT.read_text(encoding="utf-8") == openapi_examples(), "make examples"


def test_the_example_shows_every_alert_of_its_run() -> None:
    found = json.loads(KEPT.read_text(encoding="utf-8"))
    counts = found["GET /runs/{run_id} 200"]["counts"]
    assert (
        len(found["GET /runs/{run_id}/alerts 200"]["alerts"]) == counts["at_risk"] - counts["below_threshold"]
    )


def test_the_health_of_the_examples_is_that_of_a_service_that_has_all_it_needs(service: Service) -> None:
    # Where the tests themselves run in a container, their ledgers will be forgotten.
    found = service.get("/health") | {"warnings": []}
    assert found == json.loads(KEPT.read_text(encoding="utf-8"))["GET /health 200"]
