"""The place where a page of a list ended, as its reader gives it back for the next page."""

import base64

from core.errors import InvalidRequest


def encode_cursor(position: str) -> str:
    """Make a cursor of the place where a page ended."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Give the place back; raises `InvalidRequest` for a cursor that no page gave."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise bad_cursor() from None


def one_more_than(limit: int | None) -> int | None:
    """Say how many to read for a page of that many: one more tells that there is a next page."""
    return None if limit is None else limit + 1


def bad_cursor() -> InvalidRequest:
    """Say that a cursor is none of ours."""
    return InvalidRequest("cursor: give the next_cursor of the page before, unchanged")
