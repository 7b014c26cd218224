"""The columns of a source, whatever Parquet types they have, as the types that the stages work with."""

from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from core.domain import AT_RISK
from core.errors import SourceInvalid
from core.window import LONGEST_ID, LONGEST_TEXT

OWNER = "account_owner"
MONTH = "month"
DECIMAL_DIGITS = 76


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


STRING = ("a string", _is_string)
DATE = ("a date or timestamp", _is_date)
EXPECTED: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "account_id": STRING,
    "account_name": STRING,
    "account_region": STRING,
    MONTH: DATE,
    "status": STRING,
    "renewal_date": DATE,
    OWNER: STRING,
    "arr": ("a whole number", _is_number),
    "updated_at": ("a timestamp", pa.types.is_timestamp),
}


def check_schema(path: str, schema: pa.Schema, *, partitioned: bool) -> None:
    """Raise `SourceInvalid` unless the file at `path` has the columns of the spec, in types that we can read.

    A file that is `partitioned` by month needs no such column.
    """
    for name, (expected, accepts) in EXPECTED.items():
        fields = schema.get_all_field_indices(name)
        if not fields and (name == OWNER or (name == MONTH and partitioned)):
            continue
        if len(fields) != 1:
            raise SourceInvalid(f"{path}: column {name} is {'there twice' if fields else 'missing'}")
        found = schema.field(fields[0]).type
        # Writers give a column without a single value the type null.
        if not accepts(found) and not pa.types.is_null(found):
            raise SourceInvalid(f"{path}: column {name} must be {expected}, but it is {found}")


def by_value(column: pa.Array, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Apply `function`, element by element, to a column; where it has a dictionary, to each value once."""
    if isinstance(column, pa.DictionaryArray):
        return function(column.dictionary).take(column.indices)
    return function(column)


def as_strings(column: pa.Array) -> pa.Array:
    """Cast a string column of any kind to large_string; raises `ArrowInvalid` for what is not UTF-8."""
    strings = column.cast(pa.large_string())
    strings.validate(full=True)  # Arrow takes any bytes for UTF-8 until it is asked.
    return strings


def cut(strings: pa.Array) -> pa.Array:
    """Cut strings (large_string) to `LONGEST_TEXT` characters, the last of them then `…`."""
    if not pc.any(pc.greater(pc.binary_length(strings), LONGEST_TEXT)).as_py():
        return strings
    shorter = pc.utf8_slice_codeunits(strings, 0, LONGEST_TEXT - 1)
    ended = pc.binary_join_element_wise(shorter, *(pa.scalar(text, pa.large_string()) for text in ("…", "")))
    return pc.if_else(pc.greater(pc.utf8_length(strings), LONGEST_TEXT), ended, strings)


def check_ids(ids: pa.Array) -> pa.Array:
    """Give the ids (large_string) back; raises `ArrowInvalid` for one that nobody can have meant."""
    longest = pc.max(pc.binary_length(ids)).as_py() or 0
    if longest > LONGEST_ID:
        raise pa.ArrowInvalid(f"column account_id holds an id of {longest} bytes, more than {LONGEST_ID}")
    return ids


def index_in(column: pa.Array, values: pa.Array) -> pa.Array:
    """Find the place of each string in `values` (large_string); null where it is not there."""

    def find(strings: pa.Array) -> pa.Array:
        if pa.types.is_string_view(strings.type) or pa.types.is_null(strings.type):
            strings = strings.cast(pa.large_string())
        return pc.index_in(strings, value_set=values.cast(strings.type))

    return by_value(column, find)


def is_at_risk(status: pa.Array) -> pa.Array:
    """Say which statuses are exactly At Risk; never null."""
    return pc.fill_null(by_value(status, lambda values: pc.equal(values, AT_RISK)), fill_value=False)


def whole_numbers(values: pa.Array) -> pa.Array:
    """Cast ARRs to int64; raises `ArrowInvalid` for a fraction or a number too large."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    elif pa.types.is_decimal(values.type):
        # Arrow's cast of narrow decimals to int64 (26.0) says that every number is out of bounds.
        values = values.cast(pa.decimal256(DECIMAL_DIGITS, values.type.scale))
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"column arr holds what is no whole number of 64 bits: {error}") from None


def instant(updated_at: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Split timestamps of any unit (UTC, if without a zone) into seconds, rounded down, and nanoseconds."""
    if pa.types.is_null(updated_at.type):
        nothing = updated_at.cast(pa.int64())
        return nothing, nothing
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[updated_at.type.unit]
    ticks = updated_at.cast(pa.int64())
    seconds = pc.divide(ticks, per_second)  # It rounds towards zero …
    rest = pc.subtract(ticks, pc.multiply(seconds, per_second))
    early = pc.less(rest, 0)  # … so before 1970 it is one too many.
    seconds = pc.if_else(early, pc.subtract(seconds, 1), seconds)
    rest = pc.if_else(early, pc.add(rest, per_second), rest)
    return seconds, pc.multiply(rest, 10**9 // per_second)


def days(dates: pa.Array) -> pa.Array:
    """Cast dates to days; null what no calendar of Python's holds, before year 1 or after 9999."""
    dates = dates.cast(pa.date32())
    inside = pc.and_(pc.greater_equal(dates, date.min), pc.less_equal(dates, date.max))
    return pc.if_else(inside, dates, pa.scalar(None, pa.date32()))
