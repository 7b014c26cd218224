"""The passes over a source: the rows of the month, then the rows of earlier months that a streak may need."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import date
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc

from core.alerts import passes_threshold
from core.sources.parquet.columns import REPLACEMENT, instant
from core.sources.parquet.footer import Footer
from core.sources.parquet.row_groups import (
    HISTORY_ROWS,
    MONTH_ROWS,
    TIMES,
    DataFile,
    GroupReader,
    MonthPart,
    check_row_count,
)
from core.sources.source import Source
from core.sources.window import DETAILS, ROWS, Need, Window, concat, may_hold, prior_month
from core.sources.workers import Workers, wait_for

HASH_TABLE_ROWS = 65_536
"""The most ids that one hash table counts, unless they cannot be divided."""
MOST_DIVISIONS = 2
"""How often ids are divided before they are counted; each division copies them."""
MOST_ALIKE = 16
"""How many bytes at their end all ids may have in common and still be divided by the byte before."""
SECOND_MONTH_LIKELY, NEXT_MONTH_LIKELY = 30, 100
"""Numbers of accounts times months back, for `_months_at_once`."""
LONG_STREAK = 10
"""For each `LONG_STREAK` months back, one more month is read at once; at most a tenth is read in vain."""


def read_window(source: Source, month: date, need: Need, zone: str = "UTC") -> Window:
    """Read the rows that `need` asks for in `month` (a first day).

    Months in UTC are dates in the time zone `zone`. The reader does not find winning rows: it may keep an
    account that the rules leave out, and drops one only if none of its rows can cause an alert.
    """
    with Workers(source.requests) as workers:
        files = [DataFile(source, file, index, zone, workers) for index, file in enumerate(source.files)]
        return _Reader(files, month, need, workers).read(source.version)


class _Reader:
    """The passes over the files, and the record of which row groups they use."""

    def __init__(self, files: Sequence[DataFile], month: date, need: Need, workers: Workers) -> None:
        self._unopened = files
        self._month = month
        self._need = need
        self._workers = workers
        self._longest_footer: Footer | None = None
        self._readers: list[GroupReader] = []
        """The row groups of the files whose footers were read."""
        self._used: set[GroupReader] = set()
        """The decoded row groups, without those that were read ahead and not needed."""
        self._asked: set[GroupReader] = set()
        """The row groups from which rows of earlier months were requested."""

    def read(self, version: str) -> Window:
        """Read the window; see `read_window`."""
        parts = self._month_parts()
        found = concat(MONTH_ROWS, (part.rows for part in parts))
        encoded = found["account_id"].combine_chunks().dictionary_encode()
        accounts, account = encoded.dictionary, encoded.indices
        rows = found.set_column(0, ROWS.field("account"), account)
        non_at_risk = [batch for part in parts for batch in part.non_at_risk]
        ids = pa.chunked_array([batch["account_id"] for _, batch in non_at_risk], pa.large_string())
        counted = self._workers.submit(_count_distinct, ids)
        looked_up = self._workers.submit(_rows_of_candidates, non_at_risk, ids, accounts, self._month)
        details = concat(DETAILS, (part.details for part in parts))
        without_account_id = sum(part.without_account_id for part in parts)
        month_history = list(_histories(parts, account))
        times = concat(TIMES, (part.times for part in parts))
        non_at_risk_rows = len(ids)
        del parts, non_at_risk, ids, found, encoded
        history = self._with_times(self._history(accounts, rows, month_history), times)
        of_candidates = wait_for(looked_up)
        other_rows = non_at_risk_rows - of_candidates.num_rows
        other_accounts = wait_for(counted) - len(pc.unique(of_candidates["account"]))
        return Window(
            month=self._month,
            accounts=accounts,
            rows=pa.concat_tables([rows, of_candidates, history]),
            details=details,
            source_version=version,
            rows_scanned=sum(reader.group.rows for reader in self._used),
            other_rows=other_rows,
            other_duplicates=other_rows - other_accounts,
            rows_without_account_id=without_account_id,
            months_not_first_day=sum(reader.months_not_first_day or 0 for reader in self._used),
        )

    def _month_parts(self) -> list[MonthPart]:
        """Read all rows of the month, in source order."""
        month, threshold = self._month, self._need.arr_threshold
        known = pa.nulls(0, pa.large_string())
        before = prior_month(month)
        if self._need.at_risk_before and before:
            readers = self._readers_to_decode(before)
            ids = self._workers.each(lambda reader: reader.at_risk_ids(before), readers)
            known = pc.unique(pa.chunked_array(ids, pa.large_string()))
        readers = self._readers_to_decode(month)
        # Statistics may show too many rows before anything is decoded.
        check_row_count(sum(one.group.rows for one in readers if one.holds_only(month)), month)
        parts, rows = [], 0
        for part in self._workers.each(lambda reader: reader.month_part(month, threshold, known), readers):
            parts.append(part)
            rows += part.rows.num_rows + sum(batch.num_rows for _, batch in part.non_at_risk)
            check_row_count(rows, month)
        return parts

    def _history(self, accounts: pa.Array, month_rows: pa.Table, found: list[pa.Table]) -> pa.Table:
        """Return rows (of `HISTORY_ROWS`) of earlier months, until no account that may alert is at risk.

        `found` has the rows of earlier months that were decoded with the month. Each row group is decoded
        once, with all its earlier months, for the accounts that are still at risk then.
        """
        need = self._need
        passing = pc.unique(
            month_rows.filter(passes_threshold(month_rows["arr"], need.arr_threshold))["account"]
        )
        followed = pc.unique(month_rows["account"]) if need.look_back else passing
        kept = []
        reads: deque[tuple[pa.Array, list[tuple[GroupReader, pa.Array, Future[pa.Table]]]]] = deque()
        month = next_to_read = prior_month(self._month)
        months_back = 1
        while month and len(followed):
            at_once = min(_months_at_once(len(followed), months_back), self._workers.most_ahead)
            while next_to_read and len(reads) < at_once:
                reads.append((followed, self._begin_history(next_to_read, accounts, followed)))
                next_to_read = prior_month(next_to_read)
            sought, begun = reads.popleft()
            goes_on = pc.is_in(sought, value_set=followed)
            for reader, possible, read in begun:
                # A read that began ahead may be only for accounts whose streak has ended since.
                if pc.any(pc.and_(possible, goes_on)).as_py():
                    found.append(wait_for(read))
                    self._used.add(reader)
            earlier = concat(HISTORY_ROWS, found).combine_chunks()
            is_followed = pc.is_in(earlier["account"], value_set=followed)
            is_of_month = pc.equal(earlier["month"], month)
            rows = earlier.filter(pc.and_(is_followed, is_of_month))
            found = [earlier.filter(pc.and_not(is_followed, is_of_month))]
            check_row_count(rows.num_rows, month)
            kept.append(rows)
            at_risk = rows.filter(rows["at_risk"])["account"].combine_chunks()
            followed = followed.filter(pc.is_in(followed, value_set=at_risk))
            if months_back == need.look_back:
                followed = followed.filter(pc.is_in(followed, value_set=passing))
            month, months_back = prior_month(month), months_back + 1
        return concat(HISTORY_ROWS, kept)

    def _begin_history(
        self, month: date, accounts: pa.Array, followed: pa.Array
    ) -> list[tuple[GroupReader, pa.Array, "Future[pa.Table]"]]:
        """Begin to read the row groups that may hold rows of `month` and were not requested before."""
        readers = [reader for reader in self._readers_of(month) if reader not in self._asked]
        if not readers:
            return []
        self._asked.update(readers)
        ids = accounts.take(followed)
        # An id with U+FFFD may have a NUL in its place in the file.
        lowest = pc.replace_substring(ids, REPLACEMENT, "\0")
        begun = []
        for reader in readers:
            possible = reader.may_hold_accounts(ids, lowest)
            if possible.true_count:
                read = self._workers.submit(reader.history, self._month, ids, followed, possible)
                begun.append((reader, possible, read))
        return begun

    def _with_times(self, history: pa.Table, known: pa.Table) -> pa.Table:
        """Return `history` as `ROWS`, with `updated_at` where rows of an account and month disagree.

        `known` has the times (of `TIMES`) that were decoded with the month.
        """
        key = ["account", "month"]
        found = history.group_by(key).aggregate([("at_risk", "min"), ("at_risk", "max")])
        disagreeing = found.filter(pc.not_equal(found["at_risk_min"], found["at_risk_max"])).select(key)
        positions = history.join(disagreeing, key, join_type="left semi")["position"].combine_chunks()
        known = known.filter(pc.is_in(known["position"], value_set=positions))
        missing = positions.filter(pc.invert(pc.is_in(positions, value_set=known["position"]))).sort()
        wanted = {reader: reader.among(missing) for reader in self._asked}
        readers = [reader for reader in wanted if len(wanted[reader])]
        read = self._workers.each(lambda reader: reader.rows_at(wanted[reader], TIMES), readers)
        times = concat(TIMES, [known, *read]).combine_chunks()
        place = pc.index_in(history["position"], value_set=times["position"])
        history = history.append_column("updated_at", times["updated_at"].take(place))
        arr = pa.nulls(history.num_rows, pa.int64())
        return history.append_column("arr", arr).select(ROWS.names)

    def _readers_to_decode(self, month: date) -> list[GroupReader]:
        """Return the row groups that may hold rows of `month`, and count them as used."""
        readers = self._readers_of(month)
        self._used.update(readers)
        return readers

    def _readers_of(self, month: date) -> list[GroupReader]:
        """Return the row groups that may hold rows of `month`.

        Files are opened by the first call for a month that they may hold, those of a partition for its month.
        """
        opened = [file for file in self._unopened if may_hold(file.months, month)]
        self._unopened = [file for file in self._unopened if not may_hold(file.months, month)]
        for readers in self._workers.each_request(self._open, opened):
            self._readers += readers
        return [reader for reader in self._readers if may_hold(reader.group.months, month)]

    def _open(self, file: DataFile) -> list[GroupReader]:
        footer = file.open(self._longest_footer)
        self._longest_footer = max(self._longest_footer or footer, footer, key=attrgetter("length"))
        return [GroupReader(file, footer, group) for group in footer.groups]


def _months_at_once(accounts: int, months_back: int) -> int:
    """Return how many months to read at once; `accounts` have been at risk for `months_back`.

    Many accounts, or long streaks, probably need the months before too, so the product of both numbers
    decides. In the first month back, 30 accounts read two months, 400 three, 800 four, and 6,400 seven.
    """
    product = accounts * months_back
    more = max(product >= SECOND_MONTH_LIKELY, months_back // LONG_STREAK)
    return max(1 + more, (product // NEXT_MONTH_LIKELY).bit_length())


def _histories(parts: Sequence[MonthPart], account: pa.Array) -> Iterator[pa.Table]:
    """Yield the history of each part; `account` has the account of each row of the month in all parts."""
    for part in parts:
        places = account.take(part.history["account"])
        yield part.history.set_column(0, HISTORY_ROWS.field(0), places)
        account = account.slice(part.rows.num_rows)


def _rows_of_candidates(
    batches: list[tuple[int, pa.RecordBatch]], ids: pa.ChunkedArray, accounts: pa.Array, month: date
) -> pa.Table:
    """Return the rows of `accounts` in `batches`, the month's non-at-risk rows with these `ids`.

    Empties `batches`, so that only the ids take memory while they are counted.
    """
    account = pc.index_in(ids, value_set=accounts).combine_chunks()
    found = []
    while batches:
        first, batch = batches.pop(0)
        places = account.slice(0, batch.num_rows)
        account = account.slice(batch.num_rows)
        rows = batch.filter(places.is_valid())
        columns = {
            "account": places.drop_null(),
            "month": pa.repeat(pa.scalar(month), rows.num_rows),
            "at_risk": pa.repeat(pa.scalar(value=False), rows.num_rows),
            "arr": pa.nulls(rows.num_rows),
            "updated_at": instant(rows["updated_at"]),
            "position": pc.add(rows["place"], first),
        }
        found.append(pa.table(columns, schema=ROWS))
    return concat(ROWS, found)


def _count_distinct(ids: pa.ChunkedArray, alike: int = 0, divisions: int = 0) -> int:
    """Count the different ids (large_string), whose last `alike` bytes are the same.

    Many ids are divided by the byte before these, because the hash table of a part fits in the processor's
    cache. That takes half the time, and a sixth of the memory.
    """
    if len(ids) <= HASH_TABLE_ROWS or divisions == MOST_DIVISIONS or alike == MOST_ALIKE:
        return len(pc.unique(ids))
    ends = (pc.binary_slice(chunk.cast(pa.large_binary()), -alike - 1) for chunk in ids.chunks)
    parts = pa.chunked_array([end.dictionary_encode() for end in ends]).unify_dictionaries().chunks
    number = len(parts[0].dictionary)
    if number == 1:
        return _count_distinct(ids, alike + 1, divisions)
    part = pa.chunked_array([chunk.indices for chunk in parts])
    each = (ids.filter(pc.equal(part, index)) for index in range(number))
    return sum(_count_distinct(some, alike + 1, divisions + 1) for some in each)
