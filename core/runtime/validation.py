"""The errors of pydantic as this project writes them."""

import re
from typing import Any

_WORDS = {
    "dict_type": "must be a JSON object",
    "extra_forbidden": "is unknown; remove it",
    "list_type": "must be a JSON list",
    "missing": "is missing",
    "model_attributes_type": "must be a JSON object",
}
"""For the errors whose own words are those of a Python program."""


def invalid_value(error: Any) -> str:
    """Return what is wrong with a value, from one of pydantic's errors, and not the value itself.

    The value may be a secret in the wrong place.
    """
    said = re.sub(r"^\w+ should", "must", error["msg"].removeprefix("Value error, "))
    return _WORDS.get(error["type"], said)
