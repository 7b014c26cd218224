"""What the endpoints answer when all is well, as the examples of the OpenAPI document."""

import json
from pathlib import Path
from typing import Any

# Made by `make examples` from answers of the real API, and kept here because an image holds no examples/.
_EXAMPLES: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def add_examples(schema: dict[str, Any]) -> None:
    """Give each successful answer of the document its example.

    Into the finished document, as FastAPI leaves out every null of what a route declares.
    """
    for call, example in _EXAMPLES.items():
        method, path, status = call.split()
        response = schema["paths"][path][method.lower()]["responses"][status]
        response["content"]["application/json"]["example"] = example
