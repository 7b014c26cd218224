"""The fields that a form of the pages sends."""

from urllib.parse import parse_qs

from fastapi import Request

from core.domain import InvalidRequest


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; raise `InvalidRequest` when it cannot be read."""
    try:
        text = (await request.body()).decode("ascii")
        fields = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise InvalidRequest("the form: can't be read") from None
    return {name: values[-1] for name, values in fields.items()}
