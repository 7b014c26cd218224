"""The errors of pydantic in plain words."""

import re
from typing import Any

_OF_TYPES = {
    "true or false": ("bool_parsing", "bool_type"),
    "a whole number": ("int_from_float", "int_parsing", "int_parsing_size", "int_type"),
    "a number": ("float_parsing", "float_type"),
    "a text": ("string_type",),
    "a text in UTF-8": ("string_unicode",),
    "a JSON list": ("list_type",),
    "a JSON object": ("dict_type", "model_attributes_type"),
    "{expected}": ("enum", "literal_error"),
    "at least {ge}": ("greater_than_equal",),
    "at most {le}": ("less_than_equal",),
}
_WORDS = {kind: f"must be {words}" for words, kinds in _OF_TYPES.items() for kind in kinds} | {
    "extra_forbidden": "is unknown; remove it",
    "missing": "is missing",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


def invalid_value(error: Any) -> str:
    """Return what is wrong with a value, from one of pydantic's errors, and not the value itself.

    The value may be a secret in the wrong place.
    """
    if words := _WORDS.get(error["type"]):
        return words.format(**error.get("ctx", {}))
    return re.sub(r"^\w+ should", "must", error["msg"].removeprefix("Value error, "))
