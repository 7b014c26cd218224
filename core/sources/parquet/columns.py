"""The columns of a source, whatever Parquet types they have, as the types that the stages work with."""

import sys
from collections.abc import Callable
from datetime import date
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from core.domain import AT_RISK
from core.sources.folder import partition_of
from core.sources.window import LONGEST_ID, LONGEST_TEXT

DATES = ("month", "renewal_date")
REPLACEMENT = "\ufffd"
"""The replacement of each NUL in text, because PostgreSQL and Slack do not accept a NUL."""
UTC = frozenset({"UTC", "Etc/UTC", "Z", "GMT", "+00:00"})
"""The zones of timestamps whose dates depend on `SOURCE_TIMEZONE`."""
WITHOUT_DST = range(2_114_294_400, 253_402_128_000)
"""Seconds from 2036-12-31 to 9999-12-30: Arrow 26.0 ignores daylight saving time in them (issue 36110)."""


class InvalidData(Exception):
    """A column or a value breaks the data rules; the text names it and says what to do."""


Expected: TypeAlias = tuple[str, tuple[Callable[[pa.DataType], bool], ...], pa.DataType]
STRING: Expected = ("a string", (types.is_string,), pa.large_string())
DATE: Expected = ("a date or timestamp", (types.is_date, types.is_timestamp), pa.date32())
NUMBER: Expected = ("a whole number", (types.is_integer, types.is_floating, types.is_decimal), pa.int64())
TIMESTAMP: Expected = ("a timestamp", (types.is_timestamp,), pa.timestamp("us"))
EXPECTED = {
    "account_id": STRING,
    "account_name": STRING,
    "account_region": STRING,
    "month": DATE,
    "status": STRING,
    "renewal_date": DATE,
    "account_owner": STRING,
    "arr": NUMBER,
    "updated_at": TIMESTAMP,
}
"""For each column: its type in words, its checks (one must pass), and its Arrow type if it is missing."""


def find_columns(key: str, schema: pa.Schema, *, partitioned: bool) -> dict[str, str]:
    """Return the name that each column of the specification has in the file of this `key` in its store.

    An exact name wins. Otherwise a single name that differs in case, blanks around it or a byte order mark is
    used. The column `month` is left out if the file is `partitioned` by month. Raises `InvalidData` for a
    column that is missing or present twice.
    """
    alike: dict[str, list[str]] = {}
    for name in schema.names:
        alike.setdefault(name.strip("\ufeff\xa0 \t\r\n").lower(), []).append(name)
    names = {}
    for name in EXPECTED:
        if name == "month" and partitioned:
            continue
        candidates = alike.get(name, [])
        found = [candidate for candidate in candidates if candidate == name] or candidates
        if len(found) > 1:
            several = f"{len(found)} columns may be {name}: {', '.join(map(repr, found))}"
            raise InvalidData(f"{several}; keep one of them")
        if found:
            names[name] = found[0]
        elif folder := partition_of(key, name):
            above = f"give the folder above {folder} as source_uri"
            written = f"only the month may be one: write {name} into the files, too"
            missing = f"column {name} is missing: its value is a partition of the folder ({folder})"
            raise InvalidData(f"{missing}; {above if name == 'month' else written}")
        elif name != "account_owner":
            raise InvalidData(f"column {name} is missing: add it to the export")
    return names


def by_value(column: pa.Array, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Apply an element-wise `function` to a column; if it has a dictionary, once to each of its values."""
    if isinstance(column, pa.DictionaryArray):
        return function(column.dictionary).take(column.indices)
    return function(column)


def without_nul(column: pa.Array) -> pa.Array:
    """Return a string column, of any kind but views, with U+FFFD in place of each NUL."""
    if isinstance(column, pa.DictionaryArray):
        changed = without_nul(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, changed)
    content = column.buffers()[2]
    # Computing the least byte takes a thirtieth of the time of a search for a NUL.
    if pc.min(pa.Array.from_buffers(pa.uint8(), content.size, [None, content])).as_py() == 0:
        return pc.replace_substring(column, "\0", REPLACEMENT)
    return column


def as_strings(column: pa.Array) -> pa.Array:
    """Return a string column of any kind as large_string; raise `ArrowInvalid` for what is not UTF-8."""
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()  # A cast would copy all of a dictionary for a few rows.
    strings = column.cast(pa.large_string())
    strings.validate(full=True)  # Without this, Arrow accepts any bytes as UTF-8.
    return strings


def texts(column: pa.Array) -> pa.Array:
    """Return strings as large_string without NUL, cut to `LONGEST_TEXT` characters; `…` ends what is cut."""
    strings = without_nul(as_strings(column))
    cut = pc.utf8_replace_slice(strings, LONGEST_TEXT - 1, sys.maxsize, "…")
    return pc.if_else(pc.greater(pc.utf8_length(strings), LONGEST_TEXT), cut, strings)


def account_ids(column: pa.Array) -> pa.Array:
    """Return a column of ids as large_string; raise `InvalidData` for one that is too long."""
    ids = as_strings(column)
    longest = pc.max(pc.binary_length(ids)).as_py() or 0
    if longest > LONGEST_ID:
        raise InvalidData(
            f"column account_id exceeds {LONGEST_ID:,} bytes (found {longest:,}): shorten the ids"
        )
    return ids


def index_in(column: pa.Array, values: pa.Array) -> pa.Array:
    """Return the index of each string in `values` (large_string); null for a string that is not there."""
    return by_value(column, lambda strings: pc.index_in(strings, value_set=values))


def is_at_risk(status: pa.Array) -> pa.Array:
    """Return a mask of the statuses that are exactly At Risk, without nulls."""
    return pc.fill_null(by_value(status, lambda values: pc.equal(values, AT_RISK)), fill_value=False)


def whole_numbers(values: pa.Array) -> pa.Array:
    """Cast ARRs to int64; raise `InvalidData` for a fraction or a number too large."""
    if types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidData(
            f"column arr has a value that is not a whole number of 64 bits ({error}): correct it"
        ) from None


def instant(updated_at: pa.Array) -> pa.Array:
    """Return timestamps (UTC, if without a zone) as nanoseconds since the epoch (`INSTANT`)."""
    nanos = {"ms": 10**6, "us": 10**3, "ns": 1}[updated_at.type.unit]
    return pc.multiply(updated_at.cast(pa.int64()), pa.scalar(nanos, pa.decimal128(10)))


def dates(values: pa.Array, zone: str) -> pa.Array:
    """Cast dates or timestamps to days (date32).

    Timestamps in UTC are dates in the time zone `zone`, those in another zone are dates in their own.
    """
    kind = values.type
    if types.is_timestamp(kind) and kind.tz in UTC:
        values = values.cast(pa.timestamp(kind.unit, None if zone in UTC else zone))
    days = values.cast(pa.date32())
    own = getattr(values.type, "tz", None)
    if own and own[0] not in "+-":
        seconds = values.cast(pa.timestamp("s", own), safe=False)
        number = seconds.cast(pa.int64())
        late = pc.and_(pc.greater_equal(number, WITHOUT_DST.start), pc.less(number, WITHOUT_DST.stop))
        # Python knows the daylight saving time of these years.
        moments = seconds.filter(late).dictionary_encode()
        right = pa.array(moments.dictionary.to_pylist(), pa.date32()).take(moments.indices)
        days = pc.replace_with_mask(days, late, right)
    return days


def in_calendar(days: pa.Array) -> pa.Array:
    """Replace days (date32) outside of Python's calendar, before year 1 or after 9999, by null."""
    inside = pc.and_(pc.greater_equal(days, date.min), pc.less_equal(days, date.max))
    return pc.if_else(inside, days, None)


def count_not_first_days(days: pa.Array) -> int:
    """Count the days (date32) that are not the first of a month."""
    return pc.sum(pc.not_equal(pc.day(days), 1)).as_py() or 0
