"""One Parquet file of a source: what the passes over the source ask of it, row group by row group.

Whatever its bytes provoke in the decoder comes out as `SourceInvalid` with the file's name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.domain import RiskAlertsError, SourceInvalid
from core.sources.parquet.columns import (
    EXPECTED,
    MONTH,
    as_strings,
    by_value,
    check_ids,
    count_not_first_days,
    cut,
    dates,
    in_calendar,
    index_in,
    instant,
    is_at_risk,
    no_values,
    whole_numbers,
)
from core.sources.parquet.footer import INT96_UNIT, Footer, RowGroup, read_footer
from core.sources.parquet.ranges import Pieces, coalesce
from core.sources.source import Source
from core.sources.store import SourceFile
from core.sources.window import DETAILS, may_be_meant, month_before, passes_threshold
from core.sources.workers import Workers

BATCH_ROWS = 65_536
"""Small enough that a batch with names and owners takes a few megabytes."""
LOOK_UP_BATCH_ROWS = 262_144
"""Where accounts are looked up, which makes a table of them for each batch: larger, so that it seldom is."""
BATCH_BYTES = 64 * 2**20
"""About how much a batch may take once it is decoded: one of values of a megabyte has few rows."""
MAX_ROW_BYTES = 64 * 2**20
"""The most that a row may take on average: a few kilobytes of a hostile file may unpack to gigabytes."""
MAX_FILE_ROWS = 2**40
"""Positions of one file's rows; 2^23 files of as many rows fit into an int64."""

DATES = (MONTH, "renewal_date")
KEYS = ("account_id", MONTH, "status")
OF_THE_MONTH = (*KEYS, "arr", "updated_at")
OF_EARLIER_MONTHS = (*KEYS, "updated_at")
OF_ALERTS = tuple(DETAILS.names[1:])
TEXTS = tuple(name for name in OF_ALERTS if name != "renewal_date")

MONTH_ROWS = pa.schema(
    [
        ("account_id", pa.large_string()),
        ("at_risk", pa.bool_()),
        ("arr", pa.int64()),
        ("updated_seconds", pa.int64()),
        ("updated_nanos", pa.int64()),
        ("position", pa.int64()),
    ]
)
"""Rows of the month, before their accounts have a place; see `core.sources.window.ROWS`."""

HISTORY_ROWS = pa.schema(
    [
        ("account", pa.int32()),
        ("month", pa.date32()),
        ("at_risk", pa.bool_()),
        ("updated_seconds", pa.int64()),
        ("updated_nanos", pa.int64()),
        ("position", pa.int64()),
    ]
)
"""Rows of earlier months; `account` is a place in the accounts that were asked for.

When they were updated is only there where it was read along.
"""

TIMES = pa.schema([("position", pa.int64()), ("updated_seconds", pa.int64()), ("updated_nanos", pa.int64())])
"""When rows were updated, for those where it decides."""


NO_ACCOUNTS = pa.nulls(0, pa.large_string())


@dataclass(frozen=True, slots=True, eq=False)
class MonthPart:
    """What one row group holds of the month.

    `rows` (of `MONTH_ROWS`) are those that are At Risk or of an account that is known, `others` the rest:
    their `account_id` (string), `updated_at` as the file has it, and `position`. `details` (of
    `core.sources.window.DETAILS`) are those of the `rows` that pass the threshold. Rows without `account_id`
    are only counted.
    """

    rows: pa.Table
    details: pa.Table
    others: list[pa.RecordBatch]
    nameless: int
    historic: pa.Array
    history: pa.Table


class AccountFile:
    """One file of the source. Its methods may be called by many threads at once, once it is opened."""

    def __init__(self, source: Source, file: SourceFile, index: int, zone: str, workers: Workers) -> None:
        self._source = source
        self._file = file
        self._first_position = index * MAX_FILE_ROWS
        self._zone = zone
        self._workers = workers
        self._footer: Footer | None = None
        self._kept: dict[int, dict[str, Pieces]] = {}
        self._not_first_days: dict[int, int] = {}

    def months_not_first_day(self, group: RowGroup) -> int:
        """Count the rows of a row group, decoded before, whose month is not a first day."""
        return self._not_first_days[group.first]

    def may_hold(self, month: date) -> bool:
        """Return whether, by its partition, the file may hold rows of `month` or of a day meant as it."""
        own = self._file.month
        return own is None or own == month or may_be_meant(own, month)

    def open(self, longest: int) -> int:
        """Read and check the footer, and return its length in bytes; the longest one so far is `longest`."""
        with self._named():
            self._footer = footer = read_footer(self._source, self._file, self._zone, longest)
            groups = footer.groups
        for group in groups if footer.doubtful else ():
            with self._fetched(group, footer.doubtful) as pieces:
                for _ in self._batches(pieces, group, footer.doubtful):
                    pass  # `_column` refuses a value.
        return footer.length

    def groups(self, month: date) -> list[RowGroup]:
        """List the row groups that may hold rows of `month`, in file order; the file was opened before."""
        return [group for group in self.opened().groups if group.may_hold(month)]

    def holds_only(self, group: RowGroup, month: date) -> bool:
        """Return whether all rows of a row group are of `month`, by its partition or statistics."""
        return group.is_only(month) if self._file.month is None else self._file.month == month

    def month_part(self, group: RowGroup, month: date, arr_threshold: int, known: pa.Array) -> MonthPart:
        """Return what a row group holds of `month`, of the accounts `known` (large_string) at any status."""
        alone = self.holds_only(group, month)
        # A row group of this month and the one before nearly always has alerts: fetch all at once.
        at_once = alone or group.is_since(month_before(month))
        # In one where each account has several rows, they are likely all of its rows.
        repeats = not alone and group.is_repetitive("account_id")
        found, kept = [], []
        with self._fetched(group, [*OF_THE_MONTH, *(OF_ALERTS if at_once else ())], keep=not alone) as pieces:
            # Where few rows are of the month, a batch leaves little behind.
            most = BATCH_ROWS if at_once else LOOK_UP_BATCH_ROWS
            for first, batch in self._batches(pieces, group, OF_THE_MONTH, most):
                found.append(self._month_rows(first, batch, month, known))
                if repeats:
                    kept.append((first, batch.select(OF_EARLIER_MONTHS)))
            rows = pa.concat_tables([MONTH_ROWS.empty_table(), *(rows for rows, _, _ in found)])
            possible = rows.filter(passes_threshold(rows["arr"], arr_threshold))
            historic = pc.unique(possible["account_id"]) if repeats else NO_ACCOUNTS
            history = [
                _history_rows(first, batch, month, historic)
                for first, batch in (kept if len(historic) else ())
            ]
            del kept
            positions = possible["position"].combine_chunks()
            details = self._details(pieces, group, positions) if at_once or not len(positions) else None
        if details is None:
            with self._fetched(group, OF_ALERTS) as pieces:
                details = self._details(pieces, group, positions)
        return MonthPart(
            rows=rows,
            details=details,
            others=[others for _, others, _ in found if others.num_rows],
            nameless=sum(nameless for _, _, nameless in found),
            historic=historic,
            history=pa.concat_tables([HISTORY_ROWS.empty_table(), *history]),
        )

    def at_risk_ids(self, group: RowGroup, month: date) -> pa.Array:
        """Return the accounts (large_string) that have an At Risk row of `month` in a row group."""
        found = []
        with self._fetched(group, KEYS, keep=True) as pieces:
            for _, batch in self._batches(pieces, group, KEYS):
                rows = batch.filter(pc.and_(self._is_of(batch, month), is_at_risk(batch["status"])))
                found.append(check_ids(as_strings(rows["account_id"])))
        return pc.unique(pa.chunked_array(found, pa.large_string()))

    def history(self, group: RowGroup, before: date, accounts: pa.Array) -> pa.Table:
        """Return the rows (of `HISTORY_ROWS`) of months before `before`, of `accounts` (large_string)."""
        with self._fetched(group, KEYS) as pieces:
            found = [
                _history_rows(first, batch, before, accounts)
                for first, batch in self._batches(pieces, group, KEYS, LOOK_UP_BATCH_ROWS)
            ]
        return pa.concat_tables([HISTORY_ROWS.empty_table(), *found])

    def times(self, group: RowGroup, positions: pa.Array) -> pa.Table:
        """Return when the rows at `positions` (in order), of this row group, were updated (of `TIMES`)."""
        with self._fetched(group, ["updated_at"]) as pieces:
            parts = [TIMES.empty_table()]
            for first, batch in self._batches(pieces, group, ["updated_at"]):
                places, found = _take(first, batch, positions)
                parts.append(pa.table([places, *instant(found["updated_at"])], schema=TIMES))
            return pa.concat_tables(parts)

    def inside(self, group: RowGroup, positions: pa.Array) -> pa.Array:
        """Return those of `positions` that are in this row group."""
        return _inside(self._first_position + group.first_row, group.rows, positions)

    def may_hold_accounts(self, group: RowGroup, account_ids: pa.Array) -> pa.Array:
        """Return a mask of the `account_ids` (large_string) that its statistics let be in this row group."""
        ids = account_ids.cast(pa.large_binary())
        least, greatest = group.bounds("account_id")
        if least is None or greatest is None or "account_id" in self.opened().unreadable:
            return pa.repeat(pa.scalar(value=True), len(ids))
        return pc.and_(pc.greater_equal(ids, least), pc.less_equal(ids, greatest))

    def _is_of(self, batch: pa.RecordBatch, month: date) -> pa.Array:
        """Return a mask of the rows that are of `month`, without nulls."""
        if self._file.month is not None:
            return pa.repeat(pa.scalar(self._file.month == month), batch.num_rows)
        return pc.fill_null(pc.equal(batch[MONTH], month), fill_value=False)

    def _month_rows(
        self, first: int, batch: pa.RecordBatch, month: date, known: pa.Array
    ) -> tuple[pa.Table, pa.RecordBatch, int]:
        """Return the rows (of `MONTH_ROWS`) of candidates, the other rows, and how many have no account."""
        batch = batch.append_column("position", pa.arange(first, first + batch.num_rows))
        batch = _where(batch, self._is_of(batch, month))
        ids = batch["account_id"]
        rows = _where(batch, by_value(ids, lambda values: pc.greater(pc.binary_length(values), 0)))
        at_risk = is_at_risk(rows["status"])
        wanted = at_risk
        if len(known):
            wanted = pc.or_(at_risk, index_in(rows["account_id"], known).is_valid())
        kept, others = rows.filter(wanted), rows.filter(pc.invert(wanted))
        columns = [
            check_ids(as_strings(kept["account_id"])),
            at_risk.filter(wanted),
            whole_numbers(kept["arr"]),
            *instant(kept["updated_at"]),
            kept["position"],
        ]
        left = {
            "account_id": as_strings(others["account_id"]).cast(pa.string()),
            "updated_at": others["updated_at"],
            "position": others["position"],
        }
        return pa.table(columns, schema=MONTH_ROWS), pa.record_batch(left), batch.num_rows - rows.num_rows

    def _details(self, pieces: Pieces, group: RowGroup, positions: pa.Array) -> pa.Table:
        parts = [DETAILS.empty_table()]
        batches = self._batches(pieces, group, OF_ALERTS, LOOK_UP_BATCH_ROWS) if len(positions) else ()
        for first, batch in batches:
            places, found = _take(first, batch, positions)
            columns = {name: cut(as_strings(_without_dictionary(found[name]))) for name in TEXTS}
            columns |= {"position": places, "renewal_date": in_calendar(found["renewal_date"])}
            parts.append(pa.table([columns[name] for name in DETAILS.names], schema=DETAILS))
        return pa.concat_tables(parts)

    @contextmanager
    def _fetched(self, group: RowGroup, columns: Sequence[str], *, keep: bool = False) -> Iterator[Pieces]:
        """Yield the bytes of these columns of a row group, once a processor is free to decode them.

        `keep`: hold those of earlier months until the end, if there is room for it, as they are read again.
        """
        footer = self.opened()
        kept = self._kept.get(group.first, {})
        missing = [name for name in columns if name in footer.names and name not in kept]
        with self._named():
            ranges = coalesce(chunk.range for name in missing for chunk in group.chunks(name))
            with self._workers.fetching(sum(end - start for start, end in ranges)):
                pieces = Pieces(footer.size, ranges, footer.read(self._source, self._file, ranges))
                if keep:
                    self._keep(pieces, group, [name for name in missing if name in OF_EARLIER_MONTHS])
                with self._workers.decoding():
                    yield pieces.joined(kept.values())

    def _keep(self, pieces: Pieces, group: RowGroup, columns: Sequence[str]) -> None:
        for name in columns:
            kept = pieces.only([chunk.range for chunk in group.chunks(name)])
            if self._workers.may_keep(kept.held):
                self._kept.setdefault(group.first, {})[name] = kept

    def _rows(self, pieces: Pieces, group: RowGroup, columns: Sequence[str], most: int) -> int:
        """Return how many rows of these columns, at most so many, to decode at a time."""
        a_row = sum(group.bytes_a_row(name, pieces) for name in columns if name in self.opened().names)
        if a_row > MAX_ROW_BYTES:
            raise pa.ArrowInvalid(f"its rows of {a_row:,.0f} bytes each would take all memory")
        return max(1, min(most, int(BATCH_BYTES // max(a_row, 1))))

    def _batches(
        self, pieces: Pieces, group: RowGroup, columns: Sequence[str], most: int = BATCH_ROWS
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Decode `columns` of a row group, some rows at a time, each batch with its first row's position.

        Dates are days. A column that the file lacks is filled with nulls, or with the partition's month.
        """
        footer = self.opened()
        names = {name: footer.names[name] for name in columns if name in footer.names}
        parquet = pq.ParquetFile(
            pieces,
            metadata=footer.metadata,
            # Over several row groups, Arrow returns the rows of columns with a dictionary one by one.
            read_dictionary=[
                own for name, own in names.items() if len(group.parts) == 1 and group.is_repetitive(name)
            ],
            coerce_int96_timestamp_unit=INT96_UNIT,
            page_checksum_verification=True,
            pre_buffer=False,
        )
        position, not_first_days = self._first_position + group.first_row, 0
        is_counted = group.first in self._not_first_days
        for batch in parquet.iter_batches(
            self._rows(pieces, group, columns, most),
            row_groups=[*group.indices],
            columns=[*names.values()],
            use_threads=False,
        ):
            made = {name: self._column(name, batch, names.get(name)) for name in columns}
            if MONTH in made and not is_counted:
                not_first_days += count_not_first_days(made[MONTH])
            yield position, pa.record_batch(made)
            position += batch.num_rows
        if MONTH in columns and not is_counted:
            self._not_first_days[group.first] = not_first_days

    def _column(self, name: str, batch: pa.RecordBatch, own: str | None) -> pa.Array:
        if own is None:
            value = self._file.month if name == MONTH else None
            return pa.repeat(pa.scalar(value, EXPECTED[name][2]), batch.num_rows)
        column = batch[own]
        if name in self.opened().unreadable:
            return no_values(self._file.path, name, column)
        if name in DATES:
            if self.opened().is_int96(name) and column.type.tz is None:
                column = column.cast(pa.timestamp(INT96_UNIT, "UTC"))
            return dates(column, self._zone)
        # String views can't be filtered by Arrow (26.0).
        return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column

    def opened(self) -> Footer:
        """Return the footer, which was read before."""
        if self._footer is None:
            raise AssertionError(f"{self._file.path} was not opened")
        return self._footer

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except RiskAlertsError:
            raise
        except Exception as error:  # noqa: BLE001 - a corrupt file can make the decoder raise anything
            # A file that was replaced while it was read looks corrupt too: report that instead.
            self._source.verify_unchanged()
            raise SourceInvalid(
                f"{self._file.path} can't be read as Parquet: {_reason(error)}: export the file again"
            ) from None


def _history_rows(first: int, batch: pa.RecordBatch, before: date, accounts: pa.Array) -> pa.Table:
    """Return the rows (of `HISTORY_ROWS`) of a batch that are of `accounts` and of months before `before`."""
    place = index_in(batch["account_id"], accounts)
    rows = pc.indices_nonzero(place.is_valid()).cast(pa.int64())
    account, found = place.take(rows), batch.take(rows)
    nothing = pa.nulls(len(rows), pa.int64())
    times = instant(found["updated_at"]) if "updated_at" in batch.schema.names else (nothing, nothing)
    columns = [account, found[MONTH], is_at_risk(found["status"]), *times, pc.add(rows, first)]
    earlier = pc.and_(pc.less(found[MONTH], before), pc.greater_equal(found[MONTH], date.min))
    return pa.table(columns, schema=HISTORY_ROWS).filter(earlier)


def _without_dictionary(strings: pa.Array) -> pa.Array:
    """Take the strings of a few rows out of a large dictionary."""
    return strings.dictionary_decode() if pa.types.is_dictionary(strings.type) else strings


def _where(batch: pa.RecordBatch, mask: pa.Array) -> pa.RecordBatch:
    """Filter a batch, which is copied only if a row is left out."""
    return batch if mask.true_count == len(mask) else batch.filter(mask)


def _inside(first: int, rows: int, positions: pa.Array) -> pa.Array:
    return positions.filter(pc.and_(pc.greater_equal(positions, first), pc.less(positions, first + rows)))


def _take(first: int, batch: pa.RecordBatch, positions: pa.Array) -> tuple[pa.Array, pa.RecordBatch]:
    """Take the rows at `positions`, as far as they are in this batch, and return which these are."""
    inside = _inside(first, batch.num_rows, positions)
    return inside, batch.take(pc.subtract(inside, first))


def _reason(error: Exception) -> str:
    """Shorten an error to its first line, for people who did not write the decoder."""
    if not isinstance(error, OSError | ValueError | pa.ArrowException):
        return "the file contradicts itself"
    lines = str(error).strip().splitlines() or [""]
    return lines[0][:200].rstrip(". ")
