"""The month's rows, and of earlier months only what a streak can still need."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import SourceInvalid
from core.parquet import AT_RISK_ROWS, HISTORY_ROWS, TIMES, AccountFile, MonthPart, RowGroup, instant
from core.runtime import Settings, wait_for
from core.storage import Source, open_uri
from core.window import DETAILS, ROWS, Window, month_before, passes_threshold
from core.workers import Workers

logger = logging.getLogger(__name__)

FEW_ACCOUNTS = 1000
"""So few that it is worth asking the statistics of each row group whether it can hold one of them."""
SURELY_MORE = 12
"""So many survivors to expect that one month more will surely be needed."""
MAX_MONTH_ROWS = 50_000_000
"""More rows of one month than anybody has accounts; a few megabytes of file can unpack to billions."""
MOST_AHEAD = 4
MONTHS_A_STEP = 12


@task(name="load_window", cache_policy=NO_CACHE, persist_result=False)
def load_window(source_uri: str, month: date, settings: Settings) -> Window:
    """Read the window of `month`, all of it from one version of the source.

    Raises `InvalidRequest`, a `SourceError`, or `Interrupted` when the process is told to stop.
    """
    source = open_uri(source_uri, settings)
    window = read_window(source, month, settings.arr_threshold, settings.source_timezone)
    source.verify_unchanged()
    logger.info(
        "Read %s at %s: %d rows scanned, %d rows kept, %d possible alerts",
        source.uri,
        source.version,
        window.rows_scanned,
        window.rows.num_rows,
        window.details.num_rows,
    )
    return window


def read_window(source: Source, month: date, arr_threshold: int, zone: str = "UTC") -> Window:
    """Read what the alerts of `month` (a first day) can depend on; dates are those of the time `zone`.

    Generous, never short: it looks at rows, not at winning rows, so it may keep an account that `dedupe`
    will find to have recovered, and drops one only when a month has no At Risk row of it at all.
    """
    with Workers(source.requests) as workers:
        reader = _Reader(source, workers, zone)
        parts = reader.month_parts(month, arr_threshold)
        at_risk = pa.concat_tables([AT_RISK_ROWS.empty_table(), *(part.at_risk for part in parts)])
        accounts = pc.unique(at_risk["account_id"])
        rows = _at_risk_rows(at_risk, accounts, month)
        rivals = workers.submit(_rivals, [part.others for part in parts], accounts, month)
        details = pa.concat_tables([DETAILS.empty_table(), *(part.details for part in parts)])
        nameless = sum(part.nameless for part in parts)
        early = reader.early_history(parts, accounts)
        del parts
        alerting = pc.unique(rows.filter(passes_threshold(rows["arr"], arr_threshold))["account"])
        history = reader.history(month, accounts, alerting, early)
        others, other_rows, other_duplicates = wait_for(rivals)
        return Window(
            month=month,
            accounts=accounts,
            rows=pa.concat_tables([rows, *others, history]),
            details=details,
            source_version=source.version,
            rows_scanned=reader.rows_scanned,
            other_rows=other_rows,
            other_duplicates=other_duplicates,
            rows_without_account_id=nameless,
            months_not_first_day=reader.months_not_first_day,
        )


def months_ahead(survivors: Sequence[int]) -> int:
    """How many months to read at once, the next included, when so many accounts survived each step so far.

    Further back than the streaks go nothing should be read, and several months at once are sooner there. Two
    as long as surely some of many will survive the first; and more when there were many months before, so
    that what may be read in vain is a small part of all.
    """
    if len(survivors) < 2:  # noqa: PLR2004 - nobody knows yet how fast they become fewer
        return 1
    one = 2 if survivors[-1] ** 2 > SURELY_MORE * survivors[-2] else 1
    return min(one + len(survivors) // MONTHS_A_STEP, MOST_AHEAD)


class _Place(NamedTuple):
    """A row group of the source, by the number of its file."""

    file: int
    group: RowGroup

    @property
    def key(self) -> tuple[int, int]:
        """Tells it from all others."""
        return self.file, self.group.indices.start


class _Reader:
    """The passes over the files, side by side, and which row groups they have decoded."""

    def __init__(self, source: Source, workers: Workers, zone: str) -> None:
        self._workers = workers
        self._files = [
            AccountFile(source, file, index, workers, zone) for index, file in enumerate(source.files)
        ]
        self._opening: dict[int, Future[None]] = {}
        self._decoded: dict[tuple[int, int], int] = {}
        self._read: dict[tuple[int, int], _Place] = {}
        self._historic: dict[tuple[int, int], frozenset[str]] = {}
        self._not_first_days: dict[tuple[int, int], int] = {}

    @property
    def rows_scanned(self) -> int:
        """Rows of the row groups decoded so far, each row group once."""
        return sum(self._decoded.values())

    @property
    def months_not_first_day(self) -> int:
        """Rows of the row groups that were used so far whose month is not a first day."""
        return sum(self._not_first_days.values())

    def month_parts(self, month: date, arr_threshold: int) -> list[MonthPart]:
        """Everything that there is of `month`, in source order."""

        def read(place: _Place) -> MonthPart:
            return self._files[place.file].month_part(place.group, month, arr_threshold)

        places = list(self._places(month))
        self._decoded.update({place.key: place.group.rows for place in places})
        # A file may say it before anything of it is decoded.
        _refuse_too_many(
            sum(
                place.group.rows for place in places if self._files[place.file].holds_only(place.group, month)
            ),
            month,
        )
        parts, rows = [], 0
        for place, part in zip(places, self._workers.each(read, places), strict=True):
            self._historic[place.key] = frozenset(part.historic.to_pylist())
            self._count(place)
            parts.append(part)
            rows += part.at_risk.num_rows + part.others.num_rows
            _refuse_too_many(rows, month)
        return parts

    def early_history(self, parts: Sequence[MonthPart], accounts: pa.Array) -> pa.Table:
        """Gather the history (of `HISTORY_ROWS`) that came with the month, by places in `accounts`."""
        kept = [HISTORY_ROWS.empty_table()]
        for part in parts:
            if part.history.num_rows:
                place = pc.index_in(part.historic, value_set=accounts)
                kept.append(
                    part.history.set_column(0, HISTORY_ROWS.field(0), place.take(part.history["account"]))
                )
        return pa.concat_tables(kept)

    def history(self, month: date, accounts: pa.Array, alive: pa.Array, rest: pa.Table) -> pa.Table:
        """Rows (of `ROWS`) of months before `month`, back to where none of `alive` was at risk any more.

        `alive` are places in `accounts`; `rest` (of `HISTORY_ROWS`) is what came early. Each row group is
        decoded once, for the accounts that were still at risk then. One that holds many months gives up all
        of its rows before `month` at once.
        """
        kept = [HISTORY_ROWS.empty_table()]
        begun: deque[list[tuple[_Place, Future[pa.Table]]]] = deque()
        survivors = [len(alive)]
        step = ahead = month_before(month)
        while step and len(alive):
            while ahead and len(begun) < months_ahead(survivors):
                begun.append(self._begin_history(ahead, month, accounts, alive))
                ahead = month_before(ahead)
            found = []
            for place, future in begun.popleft():
                found.append(wait_for(future))
                self._count(place)
            rows = pa.concat_tables([rest, *found])
            rows = rows.filter(pc.is_in(rows["account"], value_set=alive))
            kept.append(rows.filter(pc.equal(rows["month"], step)))
            rest = rows.filter(pc.less(rows["month"], step))
            at_risk = kept[-1].filter(kept[-1]["at_risk"])["account"].combine_chunks()
            alive = alive.filter(pc.is_in(alive, value_set=at_risk))
            survivors.append(len(alive))
            step = month_before(step)
        return self._with_times(pa.concat_tables(kept))

    def _begin_history(
        self, earlier: date, month: date, accounts: pa.Array, alive: pa.Array
    ) -> list[tuple[_Place, "Future[pa.Table]"]]:
        """Begin to read the row groups that may hold rows of `earlier` and were not read before."""
        unread = [place for place in self._places(earlier) if place.key not in self._read]
        if not unread:
            return []
        ids = accounts.take(alive)
        # Which of them a row group can hold is told by name. To look those up in all accounts, for each row
        # group anew, would cost more than to decode it.
        placed = None
        if len(ids) <= FEW_ACCOUNTS or any(self._historic.values()):
            placed = dict(sorted(zip(ids.to_pylist(), alive.to_pylist(), strict=True)))
            ordered = list(placed)

        def read(place: _Place, wanted: pa.Array, places: pa.Array) -> pa.Table:
            rows = self._files[place.file].history(place.group, month, wanted)
            return rows.set_column(0, HISTORY_ROWS.field(0), places.take(rows["account"]))

        begun = []
        for place in unread:
            self._read[place.key] = place
            wanted, places = ids, alive
            if placed is not None:
                known = self._historic.get(place.key, frozenset())
                possible = self._files[place.file].may_hold_accounts(place.group, ordered)
                names = [one for one in possible if one not in known]
                wanted = pa.array(names, pa.large_string())
                places = pa.array([placed[name] for name in names], pa.int32())
            if len(wanted):
                self._decoded[place.key] = place.group.rows
                begun.append((place, self._workers.submit(read, place, wanted, places)))
        return begun

    def _count(self, place: _Place) -> None:
        self._not_first_days[place.key] = self._files[place.file].months_not_first_day(place.group)

    def _with_times(self, rows: pa.Table) -> pa.Table:
        """Make rows of `HISTORY_ROWS` such of `ROWS`, with times where rows disagree on `at_risk`."""
        key = pc.add(pc.shift_left(rows["account"].cast(pa.int64()), 32), rows["month"].cast(pa.int32()))
        keyed = rows.append_column("key", key)
        found = keyed.group_by("key").aggregate([("at_risk", "min"), ("at_risk", "max")])
        torn = found.filter(pc.not_equal(found["at_risk_min"], found["at_risk_max"]))["key"]
        positions = rows.filter(pc.is_in(key, value_set=torn.combine_chunks()))["position"].combine_chunks()

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
        columns |= {name: times[name].take(place) for name in TIMES.names[1:]}
        columns["arr"] = pa.nulls(rows.num_rows, pa.int64())
        return pa.table([columns[name] for name in ROWS.names], schema=ROWS)

    def _places(self, month: date) -> Iterator[_Place]:
        """Find the row groups that may hold rows of `month`, in source order.

        The first time, the footers of all files that may hold any month are read, side by side; those of a
        partition when it is its turn.
        """
        numbers = [number for number, file in enumerate(self._files) if file.may_hold(month)]
        for number in numbers:
            if number not in self._opening:
                self._opening[number] = self._workers.submit(self._files[number].open)
        for number in numbers:
            wait_for(self._opening[number])
            for group in self._files[number].groups(month):
                yield _Place(number, group)


def _refuse_too_many(rows: int, month: date) -> None:
    if rows > MAX_MONTH_ROWS:
        raise SourceInvalid(f"more than {MAX_MONTH_ROWS:,} rows of {month}, as nobody has accounts")


def _at_risk_rows(rows: pa.Table, accounts: pa.Array, month: date) -> pa.Table:
    return _rows(
        month,
        account=pc.index_in(rows["account_id"], value_set=accounts),
        at_risk=pa.repeat(pa.scalar(value=True), rows.num_rows),
        **{name: rows[name] for name in AT_RISK_ROWS.names[1:]},
    )


def _rivals(others: Sequence[pa.Table], accounts: pa.Array, month: date) -> tuple[list[pa.Table], int, int]:
    """Of the month's rows that are not At Risk, the ones (of `ROWS`) of `accounts`.

    And of the rest how many there are, and how many of them are one too many of their account.
    """
    # Together where the files agree on the type of `updated_at`, as the look-up table is made anew each time.
    alike: dict[pa.Schema, list[pa.Table]] = {}
    for rows in others:
        alike.setdefault(rows.schema, []).append(rows)
    rivals, strangers = [], []
    for tables in alike.values():
        rows = pa.concat_tables(tables)
        account = pc.index_in(rows["account_id"], value_set=accounts)
        ours = account.is_valid()
        strangers.extend(rows["account_id"].filter(pc.invert(ours)).chunks)
        found = rows.filter(ours)
        seconds, nanos = instant(found["updated_at"])
        rivals.append(
            _rows(
                month,
                account=account.drop_null(),
                at_risk=pa.repeat(pa.scalar(value=False), found.num_rows),
                arr=pa.nulls(found.num_rows, pa.int64()),
                updated_seconds=seconds,
                updated_nanos=nanos,
                position=found["position"],
            )
        )
    ids = pa.chunked_array(strangers, pa.large_string())
    return rivals, len(ids), len(ids) - _distinct(ids)


def _distinct(ids: pa.ChunkedArray) -> int:
    """Count the different ids, those with the same last byte at a time.

    What was seen of a tenth of them fits in the processor's cache: that is twice as fast, in a tenth of the
    memory.
    """
    last = pc.binary_slice(ids.cast(pa.large_binary()), -1).combine_chunks().dictionary_encode()
    parts = (ids.filter(pc.equal(last.indices, index)) for index in range(len(last.dictionary)))
    return sum(len(pc.unique(part)) for part in parts)


def _rows(month: date, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    columns["month"] = pa.repeat(pa.scalar(month, pa.date32()), len(columns["account"]))
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS)
