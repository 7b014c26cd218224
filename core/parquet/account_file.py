"""One Parquet file of a source: what the stages ask of it, row group by row group.

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
from core.parquet.columns import (
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
from core.parquet.footer import INT96_UNIT, Footer, RowGroup, read_footer
from core.storage import Source, SourceFile
from core.storage.ranges import Pieces, coalesce
from core.window import DETAILS, may_be_meant, month_before, passes_threshold
from core.workers import Workers

BATCH_ROWS = 65_536
"""Small enough that a batch with names and owners takes a few megabytes."""
LOOK_UP_BATCH_ROWS = 262_144
"""Where accounts are looked up, which makes a table of them for each batch: larger, so that it seldom is."""
BATCH_BYTES = 64 * 2**20
"""About how much a batch may take once it is decoded: one of values of a megabyte has few rows."""
MAX_ROW_BYTES = 64 * 2**20
"""How much a row may take on average, as nobody's do: a few kilobytes of file may unpack to gigabytes."""
MAX_FILE_ROWS = 2**40
"""Positions of one file's rows; 2^23 files of as many rows fit into an int64."""

KEYS = ("account_id", MONTH, "status")
DATES = (MONTH, "renewal_date")
OF_THE_MONTH = (*KEYS, "arr", "updated_at")
OF_EARLIER_MONTHS = (*KEYS, "updated_at")
OF_ALERTS = tuple(DETAILS.names[1:])

AT_RISK_ROWS = pa.schema(
    [
        ("account_id", pa.large_string()),
        ("arr", pa.int64()),
        ("updated_seconds", pa.int64()),
        ("updated_nanos", pa.int64()),
        ("position", pa.int64()),
    ]
)
"""The At Risk rows of the month, before their accounts have a place; see `core.window.ROWS`."""

HISTORY_ROWS = pa.schema(
    [("account", pa.int32()), ("month", pa.date32()), ("at_risk", pa.bool_()), ("position", pa.int64())]
)
"""Rows of earlier months; `account` is a place in the accounts that were asked for."""

TIMES = pa.schema([("position", pa.int64()), ("updated_seconds", pa.int64()), ("updated_nanos", pa.int64())])
"""When rows were updated, for those where it decides."""


NO_OTHERS = pa.table(
    {
        "account_id": pa.nulls(0, pa.large_string()),
        "updated_at": pa.nulls(0, pa.timestamp("us")),
        "position": pa.nulls(0, pa.int64()),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class MonthPart:
    """What one row group holds of the month.

    `at_risk` (of `AT_RISK_ROWS`) and `others`, all rows that are not At Risk: their `account_id`
    (large_string), `updated_at` as the file has it, and `position`. `details` (of `core.window.DETAILS`) are
    those of the At Risk rows that pass the threshold. Rows without `account_id` are only counted.

    `history` (of `HISTORY_ROWS`) are rows of earlier months that came for free, all that the row group has of
    `historic` (large_string): each account at risk here, or none.
    """

    at_risk: pa.Table
    details: pa.Table
    others: pa.Table
    nameless: int
    historic: pa.Array
    history: pa.Table


class AccountFile:
    """One file of the source. Its methods may be called by many threads at once, once it is opened."""

    def __init__(self, source: Source, file: SourceFile, index: int, workers: Workers, zone: str) -> None:
        self._source = source
        self._file = file
        self._first_position = index * MAX_FILE_ROWS
        self._workers = workers
        self._footer: Footer | None = None
        self._kept: dict[int, Pieces] = {}
        self._zone = zone
        self._not_first_days: dict[int, int] = {}

    def months_not_first_day(self, group: RowGroup) -> int:
        """How many rows of a row group, decoded before, have a month that is not a first day."""
        return self._not_first_days[group.indices.start]

    def may_hold(self, month: date) -> bool:
        """Whether its partition lets it hold rows of `month`, or of a day that stands for it."""
        own = self._file.month
        return own is None or own == month or may_be_meant(own, month)

    def open(self) -> None:
        """Read and check the footer, if that was not done before."""
        if self._footer is None:
            with self._named():
                self._footer = footer = read_footer(self._source, self._file, self._zone)
            doubtful = sorted(footer.unreadable - footer.untyped)
            for group in footer.groups if doubtful else ():
                with self._fetched(group, doubtful) as pieces:
                    for _ in self._batches(pieces, group, doubtful, BATCH_ROWS):
                        pass  # It refuses a value.

    def groups(self, month: date) -> list[RowGroup]:
        """List the row groups that may hold rows of `month`, in file order; the file was opened before."""
        return [group for group in self._opened().groups if group.may_hold(month)]

    def holds_only(self, group: RowGroup, month: date) -> bool:
        """Whether all rows of a row group are of `month`, by its partition or statistics."""
        return group.is_only(month) if self._file.month is None else self._file.month == month

    def may_hold_accounts(self, group: RowGroup, account_ids: Sequence[str]) -> Sequence[str]:
        """Which of `account_ids`, in order, can be in this row group, by its statistics."""
        with self._named():
            return self._opened().between(group, "account_id", account_ids)

    def month_part(self, group: RowGroup, month: date, arr_threshold: int) -> MonthPart:
        """Decode what a row group holds of `month`."""
        alone = self.holds_only(group, month)
        # A row group of this month and the one before has alerts as good as always: one request is enough.
        at_once = alone or group.is_since(month_before(month))
        # In one where each account has several rows, they are likely all of its rows.
        by_account = not alone and self._is_repetitive(group, "account_id")
        kept: list[pa.RecordBatch] = []
        with self._fetched(group, [*OF_THE_MONTH, *(OF_ALERTS if at_once else ())]) as pieces:
            if not alone and not by_account:
                self._keep(pieces, group)
            found = []
            rows = LOOK_UP_BATCH_ROWS if by_account else BATCH_ROWS
            for batch in self._batches(pieces, group, OF_THE_MONTH, rows):
                found.append(self._month_rows(batch, month))
                if by_account:
                    kept.append(batch.select([*KEYS, "position"]))
            at_risk = pa.concat_tables([AT_RISK_ROWS.empty_table(), *(rows for rows, _, _ in found)])
            possible = at_risk.filter(passes_threshold(at_risk["arr"], arr_threshold))
            positions = possible["position"].combine_chunks()
            details = self._details(pieces, group, positions) if at_once or not len(positions) else None
            historic = pc.unique(possible["account_id"]) if by_account else pa.nulls(0, pa.large_string())
            history = [_history_rows(batch, month, historic) for batch in kept if len(historic)]
            del kept
        if details is None:
            with self._fetched(group, OF_ALERTS) as pieces:
                details = self._details(pieces, group, positions)
        return MonthPart(
            at_risk=at_risk,
            details=details,
            others=pa.Table.from_batches([rows for _, rows, _ in found]) if found else NO_OTHERS,
            nameless=sum(nameless for _, _, nameless in found),
            historic=historic,
            history=pa.concat_tables([HISTORY_ROWS.empty_table(), *history]),
        )

    def history(self, group: RowGroup, before: date, accounts: pa.Array) -> pa.Table:
        """Decode the rows (of `HISTORY_ROWS`) of months before `before`, of `accounts` (large_string)."""
        with self._fetched(group, KEYS) as pieces:
            batches = self._batches(pieces, group, KEYS, LOOK_UP_BATCH_ROWS)
            found = [_history_rows(batch, before, accounts) for batch in batches]
        return pa.concat_tables([HISTORY_ROWS.empty_table(), *found])

    def times(self, group: RowGroup, positions: pa.Array) -> pa.Table:
        """Decode when the rows at `positions` (in order), of this row group, were updated (of `TIMES`)."""
        with self._fetched(group, ["updated_at"]) as pieces:
            parts = [TIMES.empty_table()]
            for batch in self._batches(pieces, group, ["updated_at"], BATCH_ROWS):
                found = _take(batch, positions)
                parts.append(pa.table([found["position"], *instant(found["updated_at"])], schema=TIMES))
            return pa.concat_tables(parts)

    def inside(self, group: RowGroup, positions: pa.Array) -> pa.Array:
        """Which of `positions` are in this row group."""
        first = self._first_position + group.first_row
        return positions.filter(
            pc.and_(pc.greater_equal(positions, first), pc.less(positions, first + group.rows))
        )

    def _month_rows(self, batch: pa.RecordBatch, month: date) -> tuple[pa.Table, pa.RecordBatch, int]:
        """Find the At Risk rows (of `AT_RISK_ROWS`), the others, and how many have no account."""
        if self._file.month != month:
            batch = batch.filter(pc.equal(batch[MONTH], month))
        named = by_value(batch["account_id"], lambda ids: pc.not_equal(ids.cast(pa.large_string()), ""))
        rows = batch.filter(named)
        at_risk = is_at_risk(rows["status"])
        risky, others = rows.filter(at_risk), rows.filter(pc.invert(at_risk))
        columns = [
            check_ids(as_strings(risky["account_id"])),
            whole_numbers(risky["arr"]),
            *instant(risky["updated_at"]),
            risky["position"],
        ]
        left = {
            "account_id": as_strings(others["account_id"]),
            "updated_at": others["updated_at"],
            "position": others["position"],
        }
        return pa.table(columns, schema=AT_RISK_ROWS), pa.record_batch(left), batch.num_rows - rows.num_rows

    def _details(self, pieces: Pieces, group: RowGroup, positions: pa.Array) -> pa.Table:
        parts = [DETAILS.empty_table()]
        for batch in self._batches(pieces, group, OF_ALERTS, BATCH_ROWS) if len(positions) else ():
            found = _take(batch, positions)
            texts = [name for name in OF_ALERTS if name != "renewal_date"]
            columns = {name: by_value(found[name], lambda text: cut(as_strings(text))) for name in texts}
            columns |= {"position": found["position"], "renewal_date": in_calendar(found["renewal_date"])}
            parts.append(pa.table([columns[name] for name in DETAILS.names], schema=DETAILS))
        return pa.concat_tables(parts)

    def _keep(self, pieces: Pieces, group: RowGroup) -> None:
        """Keep what `history` and `times` will ask of this row group, if there is room for it."""
        footer = self._opened()
        names = [name for name in OF_EARLIER_MONTHS if name in footer.names]
        kept = pieces.only([chunk for name in names for chunk in footer.chunks(group, name)])
        if self._workers.may_keep(kept.held):
            self._kept[group.indices.start] = kept

    @contextmanager
    def _fetched(self, group: RowGroup, columns: Sequence[str]) -> Iterator[Pieces]:
        """Hold the bytes of these columns of a row group, and a processor to decode them."""
        footer = self._opened()
        kept = self._kept.get(group.indices.start) if set(columns) <= set(OF_EARLIER_MONTHS) else None
        if kept is not None:
            with self._named(), self._workers.decoding():
                yield kept
            return
        with self._named():
            present = [name for name in columns if name in footer.names]
            ranges = coalesce(chunk for name in present for chunk in footer.chunks(group, name))
            with self._workers.fetching(sum(end - start for start, end in ranges)):
                pieces = Pieces(footer.size, ranges, footer.read(self._source, self._file, ranges))
                with self._workers.decoding():
                    yield pieces

    def _batches(
        self, pieces: Pieces, group: RowGroup, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Decode `columns` of a row group, and `position`, so many `rows` at a time or fewer.

        A column that the file lacks is made up.
        """
        footer = self._opened()
        present = [name for name in columns if name in footer.names]
        parquet = pq.ParquetFile(
            pieces,
            metadata=footer.metadata,
            # Of several row groups each has its own, and Arrow would give their rows one by one.
            read_dictionary=[
                footer.names[name]
                for name in present
                if len(group.indices) == 1 and self._is_repetitive(group, name)
            ],
            coerce_int96_timestamp_unit=INT96_UNIT,
            page_checksum_verification=True,
            pre_buffer=False,
        )
        row = self._first_position + group.first_row
        a_row = sum(footer.bytes_a_row(group, name, pieces) for name in present)
        if a_row > MAX_ROW_BYTES:
            raise pa.ArrowInvalid(f"its rows of {a_row:,.0f} bytes each would take all memory")
        rows = max(1, min(rows, int(BATCH_BYTES // max(a_row, 1))))
        wanted = [footer.names[name] for name in present]
        not_first_days = 0
        for batch in parquet.iter_batches(
            rows, row_groups=[*group.indices], columns=wanted, use_threads=False
        ):
            count = batch.num_rows
            made = {name: self._values(name, batch[footer.names[name]]) for name in present}
            for name in columns:
                if name not in made:
                    value = pa.scalar(self._file.month, pa.date32()) if name == MONTH else pa.scalar(None)
                    made[name] = pa.repeat(value, count)
            if MONTH in made:
                not_first_days += count_not_first_days(made[MONTH])
            yield pa.record_batch({**made, "position": pa.arange(row, row + count)})
            row += count
        if MONTH in columns:
            self._not_first_days[group.indices.start] = not_first_days

    def _values(self, name: str, column: pa.Array) -> pa.Array:
        """Give a decoded column a type that the stages can work with."""
        footer = self._opened()
        if name in footer.unreadable:
            return no_values(self._file.path, name, column)
        if name in DATES:
            if name in footer.int96 and column.type.tz is None:
                column = column.cast(pa.timestamp(INT96_UNIT, "UTC"))
            return dates(column, self._zone)
        # Arrow (26.0) can't filter string views.
        return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column

    def _is_repetitive(self, group: RowGroup, name: str) -> bool:
        with self._named():
            return self._opened().is_repetitive(group, name)

    def _opened(self) -> Footer:
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
            # A file that was replaced under our hands looks corrupt too, but another try will do.
            self._source.verify_unchanged()
            raise SourceInvalid(f"{self._file.path} can't be read as Parquet: {_reason(error)}") from None


def _history_rows(batch: pa.RecordBatch, before: date, accounts: pa.Array) -> pa.Table:
    account = index_in(batch["account_id"], accounts)
    months = batch[MONTH]
    wanted = pc.and_(account.is_valid(), pc.fill_null(pc.less(months, before), fill_value=False))
    columns = [account, months, batch["status"], batch["position"]]
    account, months, status, position = (column.filter(wanted) for column in columns)
    return pa.table([account, months, is_at_risk(status), position], schema=HISTORY_ROWS)


def _take(batch: pa.RecordBatch, positions: pa.Array) -> pa.RecordBatch:
    """Take the rows at `positions`, as far as they are in this batch, whose positions have no gap."""
    first = batch["position"][0].as_py()
    inside = pc.and_(pc.greater_equal(positions, first), pc.less(positions, first + batch.num_rows))
    return batch.take(pc.subtract(positions.filter(inside), first))


def _reason(error: Exception) -> str:
    """Shorten an error to its first line, for people who did not write the decoder."""
    lines = str(error).strip().splitlines() or [""]
    return f"{lines[0][:200].rstrip('. ')} ({type(error).__name__})".strip()
