"""One Parquet file of a source: its schema checked, its months known, its rows decoded as `core.window`'s.

Whatever its bytes provoke in the decoder comes out as `SourceInvalid` with the file's name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.domain import AT_RISK
from core.errors import RiskAlertsError, SourceInvalid
from core.storage import Source, SourceFile
from core.storage.source import RangeReader
from core.window import DETAILS, ROWS

BATCH_ROWS = 65_536
MAX_FILE_ROWS = 2**40
"""Positions of one file's rows; 2^23 files of as many rows fit into an int64."""

OWNER = "account_owner"
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
    "month": DATE,
    "status": STRING,
    "renewal_date": DATE,
    OWNER: STRING,
    "arr": ("a whole number", _is_number),
    "updated_at": ("a timestamp", pa.types.is_timestamp),
}


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A part of a file, and the months that it may hold by its statistics; None when they say nothing."""

    index: int
    first_row: int
    rows: int
    months: tuple[int, int] | None

    def may_hold(self, month: date) -> bool:
        """Whether a row of `month` can be in it."""
        return self.months is None or self.months[0] <= month.toordinal() <= self.months[1]


class AccountFile:
    """One file of the source, opened when first asked for its row groups, and closed between reads.

    Nothing of a file whose partition rules it out is ever read, its schema included.
    """

    def __init__(self, source: Source, file: SourceFile, index: int) -> None:
        self._source = source
        self._file = file
        self._first_position = index * MAX_FILE_ROWS
        self._metadata: pq.FileMetaData | None = None
        self._groups: tuple[RowGroup, ...] = ()

    def groups(self, month: date) -> list[RowGroup]:
        """List the row groups that may hold rows of `month`, in file order."""
        if self._file.month is not None and self._file.month != month:
            return []
        if self._metadata is None:
            self._read_footer()
        return [group for group in self._groups if group.may_hold(month)]

    def rows(
        self,
        group: RowGroup,
        *,
        only: date | None = None,
        before: date | None = None,
        accounts: pa.Array | None = None,
    ) -> Iterator[pa.Table]:
        """Decode the rows (of `ROWS`) of the month `only`, or of months `before` one, batch by batch.

        `accounts`, if given, are the ids to keep. `arr` is decoded for the month `only`, for At Risk rows.
        """
        columns = ["account_id", "month", "status", "updated_at", *(["arr"] if only else [])]
        for batch in self._batches(group, columns):
            with self._decoding():
                rows = _select(batch, only, before, accounts)
                decoded = _rows(rows) if rows.num_rows else None
            if decoded is not None:
                yield decoded

    def details(self, group: RowGroup, positions: pa.Array) -> Iterator[pa.Table]:
        """Decode the details (of `DETAILS`) of the rows at `positions`, batch by batch."""
        for batch in self._batches(group, DETAILS.names[1:]):
            with self._decoding():
                rows = batch.filter(pc.is_in(batch["position"], value_set=positions))
                details = rows.select(DETAILS.names).cast(DETAILS)
                details.validate(full=True)  # Arrow takes any bytes for UTF-8 until it is asked.
                days = _in_calendar(details["renewal_date"])
            yield details.set_column(DETAILS.get_field_index("renewal_date"), "renewal_date", days)

    def holds(self, group: RowGroup, positions: pa.Array) -> bool:
        """Whether one of `positions` is in this row group."""
        first = self._first_position + group.first_row
        inside = pc.and_(pc.greater_equal(positions, first), pc.less(positions, first + group.rows))
        return bool(pc.any(inside).as_py())

    def _batches(self, group: RowGroup, columns: list[str]) -> Iterator[pa.Table]:
        """Decode `columns` of a row group, and `position`; a column that the file lacks is made up."""
        with self._decoding(), self._source.open(self._file) as handle, self._parquet(handle) as parquet:
            present = [name for name in columns if name in parquet.schema_arrow.names]
            if self._file.month is not None and "month" in present:
                present.remove("month")
            row = self._first_position + group.first_row
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group.index], columns=present):
                table = _without_views(pa.Table.from_batches([batch]))
                for name in columns:
                    if name not in present:
                        value = self._file.month if name == "month" else None
                        table = table.append_column(name, pa.repeat(pa.scalar(value), table.num_rows))
                yield table.append_column("position", pa.arange(row, row + table.num_rows))
                row += table.num_rows

    def _read_footer(self) -> None:
        with self._decoding(), self._source.open(self._file) as handle, self._parquet(handle) as parquet:
            _check_schema(self._file, parquet.schema_arrow)
            if self._file.month is None:
                _check_chunks(parquet.metadata, self._file.stored.size)
            self._groups = tuple(_row_groups(parquet.metadata, self._file.month))
            self._metadata = parquet.metadata

    def _parquet(self, handle: object) -> pq.ParquetFile:
        return pq.ParquetFile(
            handle,
            metadata=self._metadata,
            # One request for the column chunks that lie together, not one a page.
            pre_buffer=True,
            page_checksum_verification=True,
            # A status has few values: its dictionary is looked at instead of every row. Before the schema
            # is checked there may be no such column.
            read_dictionary=["status"] if self._metadata else None,
        )

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except RiskAlertsError:
            raise
        except Exception as error:  # noqa: BLE001 - a corrupt file can make the decoder raise anything
            # A file that was replaced under our hands looks corrupt too, but another try will do.
            self._source.verify_unchanged()
            raise SourceInvalid(f"{self._file.path} can't be read as Parquet: {_reason(error)}") from None


def _without_views(batch: pa.Table) -> pa.Table:
    """Turn string views, which Arrow (26.0) can't filter, into strings."""
    fields = [
        field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field
        for field in batch.schema
    ]
    return batch.cast(pa.schema(fields))


def _select(batch: pa.Table, only: date | None, before: date | None, accounts: pa.Array | None) -> pa.Table:
    """Keep the rows asked for, the cheap question first, before anything else of them is decoded."""
    batch = batch.set_column(batch.column_names.index("month"), "month", batch["month"].cast(pa.date32()))
    batch = batch.filter(pc.equal(batch["month"], only) if only else pc.less(batch["month"], before))
    if accounts is None:
        return batch
    return batch.filter(pc.is_in(batch["account_id"].cast(pa.large_string()), value_set=accounts))


def _rows(batch: pa.Table) -> pa.Table:
    account_id = batch["account_id"].cast(pa.large_string())
    account_id.validate(full=True)  # Arrow takes any bytes for UTF-8 until it is asked.
    at_risk = pc.fill_null(pc.equal(batch["status"], AT_RISK), fill_value=False)
    if "arr" in batch.column_names:
        arr = _whole_numbers(pc.if_else(at_risk, batch["arr"], pa.scalar(None, batch["arr"].type)))
    else:
        arr = pa.nulls(batch.num_rows, pa.int64())
    seconds, nanos = _instant(batch["updated_at"])
    columns = [account_id, batch["month"], at_risk, arr, seconds, nanos, batch["position"]]
    return pa.table(columns, schema=ROWS)


def _whole_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cast the ARRs to int64; raises `ArrowInvalid` for a fraction or a number too large."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    elif pa.types.is_decimal(values.type):
        # Arrow's cast of narrow decimals to int64 (26.0) says that every number is out of bounds.
        values = values.cast(pa.decimal256(DECIMAL_DIGITS, values.type.scale))
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"column arr holds what is no whole number of 64 bits: {error}") from None


def _instant(updated_at: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
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


def _in_calendar(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make dates null that no calendar of Python's holds, before year 1 or after 9999."""
    inside = pc.and_(pc.greater_equal(dates, date.min), pc.less_equal(dates, date.max))
    return pc.if_else(inside, dates, pa.scalar(None, pa.date32()))


def _check_schema(file: SourceFile, schema: pa.Schema) -> None:
    for name, (expected, accepts) in EXPECTED.items():
        fields = schema.get_all_field_indices(name)
        if not fields and (name == OWNER or (name == "month" and file.month is not None)):
            continue
        if len(fields) != 1:
            raise SourceInvalid(f"{file.path}: column {name} is {'there twice' if fields else 'missing'}")
        found = schema.field(fields[0]).type
        # Writers give a column without a single value the type null.
        if not accepts(found) and not pa.types.is_null(found):
            raise SourceInvalid(f"{file.path}: column {name} must be {expected}, but it is {found}")


class _WouldReadError(Exception):
    """Arrow had no objection to the footer and went on to ask for data."""


def _check_chunks(metadata: pq.FileMetaData, size: int) -> None:
    """Raise whatever Arrow has against what the footer says of the month's column chunks; reads nothing.

    For a footer that contradicts itself, `RowGroupMetaData.column` of pyarrow 26.0 ends the whole process,
    because no one catches what its C++ throws. The reader meets the same chunks first when it plans what to
    read, and raises properly.
    """

    def would_read(_start: int, _end: int) -> bytes:
        raise _WouldReadError

    with RangeReader(size, would_read) as nothing, suppress(_WouldReadError):
        parquet = pq.ParquetFile(nothing, metadata=metadata, pre_buffer=True)
        next(parquet.iter_batches(row_groups=[*range(metadata.num_row_groups)], columns=["month"]), None)


def _row_groups(metadata: pq.FileMetaData, partition: date | None) -> Iterator[RowGroup]:
    names = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    column = names.index("month") if "month" in names and partition is None else None
    first_row = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        months = None if column is None else _months(metadata.schema.column(column), group.column(column))
        if group.num_rows:
            yield RowGroup(index, first_row, group.num_rows, months)
        first_row += group.num_rows


def _months(column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData) -> tuple[int, int] | None:
    """Find the days, as ordinals, between which the statistics say that all months are, or None."""
    if chunk.physical_type != column.physical_type:
        # `_check_chunks` does not see this one, and asking for the statistics would end the process too.
        raise ValueError(f"the footer contradicts itself about the type of {column.path}")
    try:
        statistics = chunk.statistics
        if statistics is None or not statistics.has_min_max:
            return None
        low, high = (_day(value) for value in (statistics.min, statistics.max))
    except (ArithmeticError, NotImplementedError, ValueError, pa.ArrowException):
        return None  # Outside Python's calendar, or of a type without statistics that Arrow knows.
    if low is None or high is None:
        return None
    # A day more on both sides: statistics are in UTC, the months in the column's own zone.
    return low.toordinal() - 1, high.toordinal() + 1


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else None


def _reason(error: Exception) -> str:
    """Shorten an error to its first line, for people who did not write the decoder."""
    lines = str(error).strip().splitlines() or [""]
    return f"{lines[0][:200].rstrip('. ')} ({type(error).__name__})".strip()
