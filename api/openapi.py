"""The OpenAPI document: FastAPI's own, with problem details, examples and the token."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from api.middleware import OPEN_PATHS
from api.problems import DETAILS, MEDIA_TYPE, STATUS, Problem, problem_details
from core.domain import RiskAlertsError

# `make examples` writes it from answers of the real API. It is here because an image holds no examples/.
_EXAMPLES: dict[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the problems of an endpoint by status, as OpenAPI describes them."""
    meanings = _meanings(RiskAlertsError) | DETAILS
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in codes if STATUS[code] == status),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        code: {"value": problem_details(code, meanings[code])}
                        for code in codes
                        if STATUS[code] == status
                    },
                }
            },
        }
        for status in sorted({STATUS[code] for code in codes})
    }


def complete_openapi(app: FastAPI, *, needs_token: bool) -> None:
    """Add problem details, examples and the token to the document of the app."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        # Examples that a route declares would lose every null.
        for call, example in _EXAMPLES.items():
            method, path, status = call.split()
            response = schema["paths"][path][method.lower()]["responses"][status]
            response["content"]["application/json"]["example"] = example
        open_operations = [schema["paths"][path]["get"] for path in OPEN_PATHS]
        for operation in open_operations:
            operation["responses"].pop("401", None)
        if needs_token:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            for operation in open_operations:
                operation["security"] = []
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _meanings(error: type[RiskAlertsError]) -> dict[str, str]:
    """Return the docstrings of an error and of its subclasses by code."""
    found = {error.code: error.__doc__ or ""}
    for narrower in error.__subclasses__():
        found = _meanings(narrower) | found
    return found
