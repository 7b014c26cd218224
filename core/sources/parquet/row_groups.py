"""One Parquet file of a source, which the passes over the source read row group by row group.

Every error of the decoder becomes `SourceInvalid` with the file's name.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from operator import methodcaller

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.alerts import passes_threshold
from core.domain import RiskAlertsError, SourceInvalid
from core.sources.parquet import columns
from core.sources.parquet.footer import MAX_FILE_ROWS, Footer, RowGroup, read_footer
from core.sources.parquet.ranges import Piece, Pieces, coalesce
from core.sources.source import Source, SourceFile
from core.sources.window import DETAILS, ROWS, concat, prior_month
from core.sources.workers import Workers, check_stop

BATCH_ROWS = 65_536
"""Rows of a batch: with names and owners, it takes a few megabytes."""
LOOK_UP_BATCH_ROWS = 262_144
"""Rows of a batch in which accounts are looked up; each look-up builds a table of the accounts."""
MAX_ROWS = 50_000_000
"""The most rows of a month, or of candidates in a row group: a few megabytes can decompress to billions."""
DICTIONARY_ROWS = 20_000
"""The fewest rows in a row group for which dictionaries save more than a second decoder costs."""

KEYS = ("account_id", "month", "status")
OF_THE_MONTH = (*KEYS, "arr", "updated_at")
OF_EARLIER_MONTHS = (*KEYS, "updated_at")
OF_ALERTS = tuple(DETAILS.names[1:])
CONVERT = {"updated_at": columns.instant, "renewal_date": columns.in_calendar}
"""The conversions of the columns of `DETAILS` and `TIMES` that are not text."""

MONTH_ROWS = pa.schema([("account_id", pa.large_string()), *list(ROWS)[1:]])
"""Rows of the month with their ids, before `account` is known."""
HISTORY_ROWS = pa.schema([ROWS.field(name) for name in ("account", "month", "at_risk", "position")])
"""Rows of earlier months, before it is known which update times matter."""
TIMES = pa.schema([ROWS.field(name) for name in ("position", "updated_at")])
"""Update times of the rows for which they matter."""
NO_ACCOUNTS = pa.nulls(0, pa.large_string())


@dataclass(frozen=True, slots=True, eq=False)
class MonthPart:
    """The rows of the month in one row group."""

    rows: pa.Table
    """`MONTH_ROWS` that are At Risk, or of a known account."""
    details: pa.Table
    """The `DETAILS` of those `rows` that pass the threshold."""
    non_at_risk: list[tuple[int, pa.RecordBatch]]
    """The other rows, in small batches, because they may be nearly all of the month: `account_id`
    (large_string), `updated_at` as in the file, `place` (the position less the number beside the batch)."""
    without_account_id: int
    """How many rows have no `account_id`; they are in neither of the above."""
    history: pa.Table
    """`HISTORY_ROWS` that were decoded with the month; `account` is the index of such a row in `rows`."""
    times: pa.Table
    """The `TIMES` of `history`."""


class DataFile:
    """One file of the source."""

    def __init__(self, source: Source, file: SourceFile, index: int, zone: str, workers: Workers) -> None:
        self.source = source
        self.stored = file
        self.months = (file.month, file.month) if file.month else None
        self.first_position = index * MAX_FILE_ROWS
        self.zone = zone
        self.workers = workers

    def open(self, like: Footer | None = None) -> Footer:
        """Read and check the footer; see `read_footer`."""
        with self.decoder_errors():
            footer = read_footer(self.source, self.stored, self.zone, like)
        if unreadable := footer.columns.unreadable:
            for group in footer.groups:
                GroupReader(self, footer, group).check_empty(unreadable)
            for name in unreadable:
                del footer.names[name]  # as if the file had no such column
        return footer

    @contextmanager
    def decoder_errors(self) -> Iterator[None]:
        """Turn every error of the decoder into `SourceInvalid` with the file's name."""
        try:
            yield
        except RiskAlertsError:
            raise
        except Exception as error:  # noqa: BLE001 - a corrupt file can make the decoder raise anything
            # A file that was replaced while it was read looks corrupt too: report that instead.
            self.source.verify_unchanged()
            if isinstance(error, columns.InvalidData):
                raise SourceInvalid(f"{self.stored.path}: {error}") from None
            is_described = isinstance(error, OSError | ValueError | pa.ArrowException)
            lines = str(error).strip().splitlines() if is_described else []
            reason = lines[0][:200].rstrip(". ") if lines else "the file contradicts itself"
            raise SourceInvalid(
                f"{self.stored.path} cannot be read as Parquet: {reason}: export the file again"
            ) from None


class GroupReader:
    """One row group of a file, and what was found when it was decoded."""

    def __init__(self, file: DataFile, footer: Footer, group: RowGroup) -> None:
        self.group = group
        self.history_accounts = NO_ACCOUNTS
        """The accounts whose rows of earlier months were decoded with the month."""
        is_one_month = group.months and self.holds_only(group.months[0].replace(day=1))
        self.months_not_first_day = 0 if is_one_month else None
        """How many rows have a month that is not a first day; None if only decoding them can tell."""
        self._file = file
        self._footer = footer
        self._first_position = file.first_position + group.first_row
        self._kept: dict[str, Piece] = {}

    def check_empty(self, unreadable: dict[str, str]) -> None:
        """Raise `SourceInvalid` if one of these columns has a value; see `FileColumns.unreadable`."""
        with self._fetched(tuple(unreadable)) as pieces:
            rows = self.group.rows_at_once(unreadable, pieces, BATCH_ROWS)
            for batch in self._decode(pieces, rows, unreadable, ()):
                for name, reason in unreadable.items():
                    if batch[self._footer.names[name]].null_count < batch.num_rows:
                        raise columns.InvalidData(reason)

    def holds_only(self, month: date) -> bool:
        """Return whether all rows are of `month`, by its partition or statistics."""
        return self.group.months == (month, month)

    def month_part(self, month: date, arr_threshold: int, known: pa.Array) -> MonthPart:
        """Return the rows of `month`; accounts in `known` (large_string) are candidates at any status."""
        only_this_month = self.holds_only(month)
        # A row group of this month and the one before nearly always has alerts: fetch their details, too.
        before = prior_month(month)
        with_details = bool(before and self.group.months and self.group.months[0] >= before)
        # If each account has several rows in this row group, they are likely all of its rows.
        repeats = not only_this_month and self.group.is_repetitive("account_id")
        found, kept = [], []
        names = [*OF_THE_MONTH, *(OF_ALERTS if with_details else ())]
        with self._fetched(names, keep=not only_this_month) as pieces:
            # If few rows are of the month, little of a batch is kept, so batches may be larger.
            most = BATCH_ROWS if with_details else LOOK_UP_BATCH_ROWS
            for first, batch in self._batches(pieces, OF_THE_MONTH, most):
                found.append((first, *_split_month(first, batch, month, known)))
                check_row_count(sum(len(rows) + len(others) for _, rows, others, _ in found), month)
                if repeats:
                    kept.append((first, batch.select(OF_EARLIER_MONTHS)))
            rows = concat(MONTH_ROWS, (rows for _, rows, _, _ in found))
            possible = rows.filter(passes_threshold(rows["arr"], arr_threshold))
            if repeats:
                self.history_accounts = pc.unique(possible["account_id"])
            places = pc.index_in(self.history_accounts, value_set=rows["account_id"])
            history, times = _history_rows(kept if len(places) else [], month, self.history_accounts, places)
            del kept
            positions = possible["position"].combine_chunks()
            if with_details:
                details = self._rows_at(pieces, positions, DETAILS, LOOK_UP_BATCH_ROWS)
        if not with_details:
            details = self.rows_at(positions, DETAILS)
        return MonthPart(
            rows=rows,
            details=details,
            non_at_risk=[(first, batch) for first, _, batch, _ in found if batch.num_rows],
            without_account_id=sum(without_account_id for *_, without_account_id in found),
            history=history,
            times=times,
        )

    def at_risk_ids(self, month: date) -> pa.Array:
        """Return the accounts (large_string) that have an At Risk row of `month`."""
        found = []
        with self._fetched(KEYS, keep=True) as pieces:
            for _, batch in self._batches(pieces, KEYS):
                wanted = pc.and_(pc.equal(batch["month"], month), columns.is_at_risk(batch["status"]))
                found.append(columns.account_ids(batch["account_id"].filter(wanted)))
                check_row_count(sum(map(len, found)), month)
        return pc.unique(pa.chunked_array(found, pa.large_string()))

    def history(self, before: date, accounts: pa.Array, places: pa.Array, possible: pa.Array) -> pa.Table:
        """Return the rows (of `HISTORY_ROWS`) of months before `before`, of the `possible` accounts.

        `account` is the entry of the account in `places` (int32). The mask `possible` is applied only here,
        because each read that waits for a thread would hold a copy of the accounts.
        """
        with self._fetched(KEYS) as pieces:
            batches = self._batches(pieces, KEYS, LOOK_UP_BATCH_ROWS)
            return _history_rows(batches, before, accounts.filter(possible), places.filter(possible))[0]

    def among(self, positions: pa.Array) -> pa.Array:
        """Return those of `positions` (int64, in order) that are in this row group."""
        return _positions_between(self._first_position, self.group.rows, positions)

    def rows_at(self, positions: pa.Array, schema: pa.Schema) -> pa.Table:
        """Return these rows of this row group (`positions` in order); `schema` is `DETAILS` or `TIMES`."""
        if not len(positions):
            return schema.empty_table()
        # Texts that do not repeat take many bytes: in small batches, their buffers are used again.
        most = LOOK_UP_BATCH_ROWS if self.group.is_repetitive("account_name") else BATCH_ROWS
        with self._fetched(schema.names[1:]) as pieces:
            return self._rows_at(pieces, positions, schema, most)

    def may_hold_accounts(self, ids: pa.Array, lowest: pa.Array) -> pa.Array:
        """Return a mask of the `ids` (large_string) that may have rows here that were not decoded yet.

        `lowest` has for each id the least text that may stand for it in the file: NUL in place of U+FFFD.
        """
        possible = pc.invert(pc.is_in(ids, value_set=self.history_accounts))
        if not (bounds := self.group.chunks["account_id"][0].bounds):
            return possible
        least, greatest = bounds
        inside = pc.and_(pc.greater_equal(ids, least), pc.less_equal(lowest, greatest))
        return pc.and_(possible, inside)

    @contextmanager
    def _fetched(self, names: Sequence[str], *, keep: bool = False) -> Iterator[Pieces]:
        """Yield the bytes of these columns, once a processor is free to decode them.

        With `keep`, the columns that the history reads again stay in memory if there is room.
        """
        footer, file = self._footer, self._file
        missing = [name for name in names if name in footer.names and name not in self._kept]
        chunks = [chunk.range for name in missing for chunk in self.group.chunks[name]]
        first, tail = footer.tail
        with file.decoder_errors():
            # The data from `first` on was read with the footer.
            ranges = coalesce((start, min(end, first)) for start, end in chunks if start < first)
            with file.workers.fetching(sum(end - start for start, end in ranges)):
                parts = file.source.read(file.stored, ranges) if ranges else []
                fetched = [
                    (start, bytes(part) + tail if tail and end == first else part)
                    for (start, end), part in zip(ranges, parts, strict=True)
                ]
                pieces = Pieces(footer.size, [*fetched, footer.tail, *self._kept.values()])
                for name in missing:
                    start, end = self.group.chunks[name][0].range
                    if keep and name in OF_EARLIER_MONTHS and file.workers.keep_if_room(end - start):
                        self._kept[name] = (start, bytes(pieces.at(start, end)))
                with file.workers.decoding:
                    yield pieces

    def _batches(
        self, pieces: Pieces, names: Sequence[str], most: int = BATCH_ROWS
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Decode `names` in batches of at most `most` rows; yield each with the position of its first row.

        Dates are days. A column that the file lacks is filled with nulls, or with the partition's month.
        """
        group = self.group
        in_file = {name: self._footer.names[name] for name in names if name in self._footer.names}
        texts = [name for name in in_file if columns.EXPECTED[name] is columns.STRING]
        as_dictionary = [
            name for name in texts if group.rows >= DICTIONARY_ROWS and group.is_repetitive(name)
        ]
        rows = group.rows_at_once(in_file, pieces, most)
        # Arrow makes no dictionary of large strings, so the other texts have a decoder of their own.
        others = [name for name in texts if name not in as_dictionary] if as_dictionary else []
        first = [name for name in in_file if name not in others]
        decoders = [self._decode(pieces, rows, first, as_dictionary)] if first else []
        decoders += [self._decode(pieces, rows, others, [])] if others else []
        position, not_first_days = self._first_position, 0
        is_counted = "month" not in names or self.months_not_first_day is not None
        for parts in zip(*decoders, strict=True):
            check_stop()
            found = {name: part[name] for part in parts for name in part.schema.names}
            made = {name: self._column(name, found.get(in_file.get(name)), len(parts[0])) for name in names}
            if not is_counted:
                not_first_days += columns.count_not_first_days(made["month"])
            yield position, pa.record_batch(made)
            position += len(parts[0])
        if not is_counted:
            self.months_not_first_day = not_first_days

    def _decode(
        self, pieces: Pieces, rows: int, names: Iterable[str], dictionaries: Iterable[str]
    ) -> Iterator[pa.RecordBatch]:
        """Decode these columns of the specification in batches of `rows`; keep `dictionaries` encoded."""
        own = self._footer.names
        parquet = pq.ParquetFile(
            pieces,
            metadata=self._footer.metadata,
            read_dictionary=[own[name] for name in dictionaries],
            # Arrow (26.0) decodes large strings in a third less time.
            binary_type=None if dictionaries else pa.large_binary(),
            coerce_int96_timestamp_unit="us",  # In nanoseconds, dates after 2262 would wrap around.
            page_checksum_verification=True,
            arrow_extensions_enabled=False,  # JSON is a string, as for `FileColumns`.
            pre_buffer=False,
        )
        yield from parquet.iter_batches(
            rows,
            row_groups=[self.group.index],
            columns=[own[name] for name in names],
            use_threads=False,
        )

    def _column(self, name: str, column: pa.Array | None, rows: int) -> pa.Array:
        if column is None:
            value = self._file.stored.month if name == "month" else None
            return pa.repeat(pa.scalar(value, columns.EXPECTED[name][2]), rows)
        if name in columns.DATES:
            stamp = self._footer.columns.stamps.get(name, column.type)
            return columns.dates(column.cast(stamp), self._file.zone)
        return columns.without_nul(column) if name == "account_id" else column

    def _rows_at(self, pieces: Pieces, positions: pa.Array, schema: pa.Schema, most: int) -> pa.Table:
        if not len(positions):
            return schema.empty_table()
        parts = []
        for first, batch in self._batches(pieces, schema.names[1:], most):
            inside = _positions_between(first, batch.num_rows, positions)
            rows = batch.take(pc.subtract(inside, first))
            made = [CONVERT.get(name, columns.texts)(rows[name]) for name in rows.schema.names]
            parts.append(pa.table([inside, *made], schema=schema))
        return concat(schema, parts)


def _split_month(
    first: int, batch: pa.RecordBatch, month: date, known: pa.Array
) -> tuple[pa.Table, pa.RecordBatch, int]:
    """Return the candidates' rows (of `MONTH_ROWS`), the other rows, and the number without account_id."""
    batch = batch.append_column("position", pa.arange(first, first + batch.num_rows))
    batch = _filtered(batch, pc.equal(batch["month"], month))
    ids = batch["account_id"]
    rows = _filtered(batch, columns.by_value(ids, lambda values: pc.greater(pc.binary_length(values), 0)))
    at_risk = columns.is_at_risk(rows["status"])
    wanted = at_risk
    if len(known):
        wanted = pc.or_(at_risk, columns.index_in(rows["account_id"], known).is_valid())
    kept, others = rows.filter(wanted), rows.filter(pc.invert(wanted))
    values = [
        columns.account_ids(kept["account_id"]),
        kept["month"],
        at_risk.filter(wanted),
        columns.whole_numbers(kept["arr"]),
        columns.instant(kept["updated_at"]),
        kept["position"],
    ]
    left = {
        "account_id": columns.as_strings(others["account_id"]),
        "updated_at": others["updated_at"],
        "place": pc.subtract(others["position"], first).cast(pa.int32()),
    }
    without_account_id = batch.num_rows - rows.num_rows
    return pa.table(values, schema=MONTH_ROWS), pa.record_batch(left), without_account_id


def _history_rows(
    batches: Iterable[tuple[int, pa.RecordBatch]], before: date, accounts: pa.Array, places: pa.Array
) -> tuple[pa.Table, pa.Table]:
    """Return the rows (of `HISTORY_ROWS`) of `accounts` and months before `before`, and their `TIMES`.

    `account` is the entry of the account in `places`. Batches without `updated_at` have no times.
    """
    found, times = [], []
    for first, batch in batches:
        place = columns.index_in(batch["account_id"], accounts)
        at = pc.indices_nonzero(pc.and_(place.is_valid(), pc.less(batch["month"], before)))
        rows = batch.drop_columns(["account_id"]).take(at)
        position = pc.add(at, first)
        account, at_risk = places.take(place.take(at)), columns.is_at_risk(rows["status"])
        found.append(pa.record_batch([account, rows["month"], at_risk, position], schema=HISTORY_ROWS))
        check_row_count(sum(map(len, found)), f"at-risk accounts before {before} in one row group")
        if "updated_at" in batch.schema.names:
            times.append(pa.record_batch([position, columns.instant(rows["updated_at"])], schema=TIMES))
    return pa.Table.from_batches(found, HISTORY_ROWS), pa.Table.from_batches(times, TIMES)


def check_row_count(rows: int, what: object) -> None:
    """Raise `SourceInvalid` if these `rows` of `what`, a month or more, are too many."""
    if rows > MAX_ROWS:
        raise SourceInvalid(f"more than {MAX_ROWS:,} rows of {what}: export one row per account and month")


def _filtered(batch: pa.RecordBatch, mask: pa.Array) -> pa.RecordBatch:
    """Filter a batch; copy it only if a row is left out."""
    return batch if mask.true_count == len(mask) else batch.filter(mask)


def _positions_between(first: int, rows: int, positions: pa.Array) -> pa.Array:
    value = methodcaller("as_py")
    start, end = (bisect_left(positions, bound, key=value) for bound in (first, first + rows))
    return positions[start:end]
