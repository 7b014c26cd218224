"""The passes over a source: the month's rows, and of earlier months only what a streak may still need."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from core.domain import SourceInvalid
from core.runtime import wait_for
from core.sources.parquet.columns import instant
from core.sources.parquet.footer import RowGroup
from core.sources.parquet.row_groups import HISTORY_ROWS, MONTH_ROWS, TIMES, AccountFile, MonthPart
from core.sources.source import Source
from core.sources.window import DETAILS, ROWS, Need, Window, month_before, passes_threshold
from core.sources.workers import Workers

MAX_MONTH_ROWS = 50_000_000
"""The most rows of one month: a hostile file of a few megabytes can unpack to billions."""
NEXT_MONTH_LIKELY = 100
"""From so many accounts times months at risk on, two months are decoded at once, the second maybe in vain."""


def read_window(source: Source, month: date, need: Need, zone: str = "UTC") -> Window:
    """Read what `need` asks of `month` (a first day); months in UTC are dates in the time zone `zone`.

    The reader looks at rows, not at winning rows: it may keep an account that the rules leave out, and drops
    one only when none of its rows can bring an alert.
    """
    with Workers(source.requests) as workers:
        return _Reader(source, zone, workers).read(month, need)


class _Place(NamedTuple):
    """A row group of the source, by the number of its file."""

    file: int
    group: RowGroup

    @property
    def key(self) -> tuple[int, int]:
        """The identity of the row group in the source."""
        return self.file, self.group.first


@dataclass(frozen=True, slots=True)
class _Followed:
    """Accounts to follow into earlier months: all for `look_back` months, then those that pass the threshold.

    `places` and `passing` are places in `accounts` (large_string).
    """

    accounts: pa.Array
    places: pa.Array
    passing: pa.Array
    look_back: int

    def still(self, alive: pa.Array, step: int) -> pa.Array:
        """Return those of `alive` that need the month `step` months back."""
        return alive if step <= self.look_back else alive.filter(pc.is_in(alive, value_set=self.passing))


class _Reader:
    """The passes over the files, and the record of which row groups they have decoded."""

    def __init__(self, source: Source, zone: str, workers: Workers) -> None:
        self._source = source
        self._workers = workers
        self._files = [
            AccountFile(source, file, index, zone, workers) for index, file in enumerate(source.files)
        ]
        self._opening: dict[int, Future[None]] = {}
        self._longest_footer = 0
        self._decoded: dict[tuple[int, int], int] = {}
        self._read: dict[tuple[int, int], _Place] = {}
        self._historic: dict[tuple[int, int], pa.Array] = {}
        self._not_first_days: dict[tuple[int, int], int] = {}

    def read(self, month: date, need: Need) -> Window:
        """See `read_window`."""
        parts = self._month_parts(month, need)
        found = pa.concat_tables([MONTH_ROWS.empty_table(), *(part.rows for part in parts)])
        accounts = pc.unique(found["account_id"])
        rows = _month_rows(month, account=pc.index_in(found["account_id"], accounts), rows=found)
        others = [batch for part in parts for batch in part.others]
        non_at_risk = self._workers.submit(_non_at_risk_rows, others, accounts, month)
        details = pa.concat_tables([DETAILS.empty_table(), *(part.details for part in parts)])
        nameless = sum(part.nameless for part in parts)
        early = [
            _placed(part.history, pc.index_in(part.historic, value_set=accounts))
            for part in parts
            if part.history.num_rows
        ]
        del parts, others, found
        passing = pc.unique(rows.filter(passes_threshold(rows["arr"], need.arr_threshold))["account"])
        places = passing if not need.look_back else pc.unique(rows["account"])
        history = self._history(month, _Followed(accounts, places, passing, need.look_back), early)
        of_candidates, other_rows, other_duplicates = wait_for(non_at_risk)
        return Window(
            month=month,
            accounts=accounts,
            rows=pa.concat_tables([rows, *of_candidates, history]),
            details=details,
            source_version=self._source.version,
            rows_scanned=sum(self._decoded.values()),
            other_rows=other_rows,
            other_duplicates=other_duplicates,
            rows_without_account_id=nameless,
            months_not_first_day=sum(self._not_first_days.values()),
        )

    def _month_parts(self, month: date, need: Need) -> list[MonthPart]:
        """Read all rows of `month`, in source order."""
        known = pa.nulls(0, pa.large_string())
        before = month_before(month)
        if need.at_risk_before and before:
            places = self._begin(before)
            ids = list(
                self._workers.each(lambda at: self._files[at.file].at_risk_ids(at.group, before), places)
            )
            self._count(places)
            known = pc.unique(pa.chunked_array(ids, pa.large_string()))

        def read(place: _Place) -> MonthPart:
            return self._files[place.file].month_part(place.group, month, need.arr_threshold, known)

        places = self._begin(month)
        # Statistics may show it before anything is decoded.
        alone = (at.group.rows for at in places if self._files[at.file].holds_only(at.group, month))
        _refuse_too_many(sum(alone), month)
        parts, rows = [], 0
        for place, part in zip(places, self._workers.each(read, places), strict=True):
            if len(part.historic):
                self._historic[place.key] = part.historic
            parts.append(part)
            rows += part.rows.num_rows + sum(batch.num_rows for batch in part.others)
            _refuse_too_many(rows, month)
        self._count(places)
        return parts

    def _history(self, month: date, followed: _Followed, early: Sequence[pa.Table]) -> pa.Table:
        """Read rows (of `ROWS`) of months before `month`, until no followed account is at risk any more.

        `early` are rows (of `HISTORY_ROWS`) that came with the month. Each row group is decoded once, for the
        accounts that were still at risk then. One that holds many months is decoded for all
        of them at once.
        """
        nothing = HISTORY_ROWS.empty_table()
        held, kept = [pa.concat_tables([nothing, *early]).combine_chunks()], [nothing]
        begun: deque[list[tuple[_Place, Future[pa.Table]]]] = deque()
        alive, back = followed.places, 1
        step = ahead = month_before(month)
        while step and len(alive := followed.still(alive, back)):
            at_once = 2 if len(alive) * back >= NEXT_MONTH_LIKELY else 1
            while ahead and len(begun) < at_once:
                begun.append(self._begin_history(ahead, month, followed.accounts, alive))
                ahead = month_before(ahead)
            found = begun.popleft()
            read = pa.concat_tables([nothing, *(wait_for(future) for _, future in found)])
            held.append(read.combine_chunks())
            self._count(place for place, _ in found)
            of_step = (table.filter(pc.equal(table["month"], step)) for table in held)
            rows = pa.concat_tables([nothing, *of_step])
            rows = rows.filter(pc.is_in(rows["account"], value_set=alive))
            held = [table for table in held if table.num_rows and pc.min(table["month"]).as_py() < step]
            kept.append(rows)
            at_risk = rows.filter(rows["at_risk"])["account"].combine_chunks()
            alive = alive.filter(pc.is_in(alive, value_set=at_risk))
            back += 1
            step = month_before(step)
        return self._with_times(pa.concat_tables(kept))

    def _begin_history(
        self, earlier: date, month: date, accounts: pa.Array, alive: pa.Array
    ) -> list[tuple[_Place, "Future[pa.Table]"]]:
        """Begin to read the row groups that may hold rows of `earlier` and were not read before."""
        ids = accounts.take(alive)

        def read(place: _Place, wanted: pa.Array, places: pa.Array) -> pa.Table:
            return _placed(self._files[place.file].history(place.group, month, wanted), places)

        begun = []
        for place in self._places(earlier):
            if place.key in self._read:
                continue
            self._read[place.key] = place
            possible = self._files[place.file].may_hold_accounts(place.group, ids)
            if historic := self._historic.get(place.key):
                possible = pc.and_not(possible, pc.is_in(ids, value_set=historic))
            wanted, places = ids.filter(possible), alive.filter(possible)
            if len(wanted):
                self._decoded[place.key] = place.group.rows
                begun.append((place, self._workers.submit(read, place, wanted, places)))
        return begun

    def _with_times(self, rows: pa.Table) -> pa.Table:
        """Return rows of `HISTORY_ROWS` as `ROWS`, with times where rows of a month disagree on `at_risk`."""
        key = pc.add(pc.shift_left(rows["account"].cast(pa.int64()), 32), rows["month"].cast(pa.int32()))
        keyed = pa.table({"key": key, "at_risk": rows["at_risk"]})
        found = keyed.group_by("key").aggregate([("at_risk", "min"), ("at_risk", "max")])
        disagreeing = found.filter(pc.not_equal(found["at_risk_min"], found["at_risk_max"]))["key"]
        open_ones = pc.and_(
            pc.is_in(key, value_set=disagreeing.combine_chunks()), rows["updated_seconds"].is_null()
        )
        positions = rows["position"].filter(open_ones).combine_chunks()

        def read(place: _Place) -> pa.Table:
            file = self._files[place.file]
            return file.times(place.group, file.inside(place.group, positions))

        places = [
            place
            for place in self._read.values()
            if len(positions) and len(self._files[place.file].inside(place.group, positions))
        ]
        times = pa.concat_tables([TIMES.empty_table(), *self._workers.each(read, places)])
        place = pc.index_in(rows["position"], value_set=times["position"].combine_chunks())
        columns = {name: rows[name] for name in HISTORY_ROWS.names}
        columns |= {name: pc.coalesce(rows[name], times[name].take(place)) for name in TIMES.names[1:]}
        columns["arr"] = pa.nulls(rows.num_rows, pa.int64())
        return pa.table([columns[name] for name in ROWS.names], schema=ROWS)

    def _count(self, places: Iterable[_Place]) -> None:
        """Count the rows of row groups that were decoded and used whose month is not a first day."""
        for place in places:
            self._not_first_days[place.key] = self._files[place.file].months_not_first_day(place.group)

    def _begin(self, month: date) -> list[_Place]:
        """Return the row groups that may hold rows of `month`, and count them as decoded."""
        places = list(self._places(month))
        self._decoded.update({place.key: place.group.rows for place in places})
        return places

    def _open(self, number: int) -> None:
        self._longest_footer = max(self._longest_footer, self._files[number].open(self._longest_footer))

    def _places(self, month: date) -> Iterator[_Place]:
        """Yield the row groups that may hold rows of `month`, in source order.

        The first time, the footers of all files that may hold any month are read, side by side; those of a
        partition when it is its turn.
        """
        numbers = [number for number, file in enumerate(self._files) if file.may_hold(month)]
        for number in numbers:
            if number not in self._opening:
                self._opening[number] = self._workers.submit(self._open, number)
        for number in numbers:
            wait_for(self._opening[number])
            for group in self._files[number].groups(month):
                yield _Place(number, group)


def _placed(rows: pa.Table, places: pa.Array) -> pa.Table:
    """Return rows (of `HISTORY_ROWS`) with the `places` of their accounts among all candidates."""
    return rows.set_column(0, HISTORY_ROWS.field(0), places.take(rows["account"]))


def _refuse_too_many(rows: int, month: date) -> None:
    if rows > MAX_MONTH_ROWS:
        raise SourceInvalid(
            f"more than {MAX_MONTH_ROWS:,} rows of {month}: export one row an account and month"
        )


def _non_at_risk_rows(
    others: Sequence[pa.RecordBatch], accounts: pa.Array, month: date
) -> tuple[list[pa.Table], int, int]:
    """Of the month's other rows, return those (of `ROWS`) of `accounts`.

    And of the rest how many there are, and how many of them are one too many of their account.
    """
    # Arrow builds the table of accounts for each look-up, so batches of one schema are looked up together.
    alike: dict[pa.Schema, list[pa.RecordBatch]] = {}
    for batch in others:
        alike.setdefault(batch.schema, []).append(batch)
    of_candidates, rest = [], []
    for batches in alike.values():
        rows = pa.Table.from_batches(batches)
        account = pc.index_in(rows["account_id"].cast(pa.large_string()), value_set=accounts)
        is_candidate = account.is_valid()
        rest += rows["account_id"].filter(pc.invert(is_candidate)).chunks
        found = rows.filter(is_candidate)
        seconds, nanos = instant(found["updated_at"])
        columns = {
            "at_risk": pa.repeat(pa.scalar(value=False), found.num_rows),
            "arr": pa.nulls(found.num_rows, pa.int64()),
            "updated_seconds": seconds,
            "updated_nanos": nanos,
            "position": found["position"],
        }
        of_candidates.append(_month_rows(month, account=account.drop_null(), rows=columns))
    ids = pa.chunked_array(rest, pa.string())
    return of_candidates, len(ids), len(ids) - _distinct(ids)


def _distinct(ids: pa.ChunkedArray) -> int:
    """Count the different ids, those with the same last byte at a time.

    What was seen of a tenth of them fits in the processor's cache: that is twice as fast, in a tenth of the
    memory.
    """
    last = pc.binary_slice(ids.cast(pa.binary()), -1).combine_chunks().dictionary_encode()
    parts = (ids.filter(pc.equal(last.indices, index)) for index in range(len(last.dictionary)))
    return sum(len(pc.unique(part)) for part in parts)


def _month_rows(
    month: date, account: pa.Array | pa.ChunkedArray, rows: pa.Table | dict[str, pa.Array]
) -> pa.Table:
    months = pa.repeat(pa.scalar(month, pa.date32()), len(account))
    columns = {"account": account, "month": months} | {name: rows[name] for name in ROWS.names[2:]}
    return pa.table(columns, schema=ROWS)
