"""The OpenAPI document: FastAPI's own, with problem details, examples and the token."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from api.middleware import OPEN_PATHS
from api.problems import Problem

# `make examples` writes it from answers of the real API. It is here because an image holds no examples/.
_EXAMPLES: dict[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))


def complete_openapi(app: FastAPI, *, needs_token: bool) -> None:
    """Complete the document of the app by what FastAPI does not know."""
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
        if needs_token:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            for path in OPEN_PATHS:
                schema["paths"][path]["get"]["security"] = []
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
