"""A cursor continues a list where a page ended; any other text is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.domain import InvalidRequest
from core.ledger.history import decode_cursor, encode_cursor

PLACE = TypeAdapter(tuple[str, int])


@given(st.text(), st.integers())
def test_cursor_returns_its_place_and_needs_no_escaping(text: str, number: int) -> None:
    cursor = encode_cursor(text, number)
    assert decode_cursor(cursor, PLACE) == (text, number)
    assert re.fullmatch(r"[A-Za-z0-9_-]*", cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "Wzé",
        "_w",
        "\ud800",
        encode_cursor(1),
        encode_cursor("a", None),
        encode_cursor("a", 1) + "!!!!",
    ],
)
def test_invalid_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^cursor: invalid; send the next_cursor"):
        decode_cursor(cursor, PLACE)
