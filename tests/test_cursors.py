"""A cursor brings its reader back to where a page ended, and no other word does."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cursors import decode_cursor, encode_cursor, one_more_than
from core.errors import InvalidRequest


@given(st.text())
def test_a_cursor_gives_its_place_back_and_stands_in_a_url_as_it_is(place: str) -> None:
    cursor = encode_cursor(place)
    assert decode_cursor(cursor) == place
    assert re.fullmatch(r"[A-Za-z0-9_-]*", cursor)


@pytest.mark.parametrize("cursor", ["x", "W z", "Wzé", "W!zEs", "_w", "\ud800"])
def test_what_no_page_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^cursor: give the next_cursor of the page before, unchanged$"):
        decode_cursor(cursor)


def test_one_more_is_read_than_a_page_holds_and_without_a_limit_all() -> None:
    assert one_more_than(10) == 11
    assert one_more_than(None) is None
