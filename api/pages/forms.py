"""What a browser's form sends, and whether it was one of our own pages that sent it."""

from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from core.errors import InvalidRequest


async def read_form(request: Request) -> dict[str, str]:
    """Give the fields of a form; raises `InvalidRequest` when it can't be read or another site sent it."""
    if not is_our_own(request.headers):
        raise InvalidRequest("the form: sent by another site, or by no page at all")
    try:
        text = (await request.body()).decode("ascii")
        fields = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise InvalidRequest("the form: can't be read") from None
    return {name: values[-1] for name, values in fields.items()}


def is_our_own(headers: Headers) -> bool:
    """Say whether a page of this very host sent the request, as the browser itself tells."""
    fetched_by = headers.get("sec-fetch-site")
    if fetched_by is not None:
        return fetched_by == "same-origin"
    # Browsers leave it out where there is no TLS, but for this host itself.
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host", "-")
