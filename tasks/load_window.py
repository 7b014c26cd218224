"""The month's rows, and of earlier months only what a streak can still need."""

import logging
from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from core.parquet import AccountFile, RowGroup
from core.settings import Settings
from core.storage import Source, open_uri
from core.window import DETAILS, ROWS, Window, month_before, passes_threshold

logger = logging.getLogger(__name__)


@task(name="load_window", cache_policy=NO_CACHE, persist_result=False)
def load_window(source_uri: str, month: date, settings: Settings) -> Window:
    """Read the window of `month`, all of it from one version of the source.

    Raises `InvalidRequest` or a `SourceError`.
    """
    source = open_uri(source_uri, settings)
    window = read_window(source, month, settings.arr_threshold)
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


def read_window(source: Source, month: date, arr_threshold: int) -> Window:
    """Read what the alerts of `month` (a first day) can depend on.

    Generous, never short: it looks at rows, not at winning rows, so it may keep an account that `dedupe`
    will find to have recovered, and drops one only when a month has no At Risk row of it at all.
    """
    reader = _Reader(source)
    rows, nameless = reader.month_rows(month)
    possible = rows.filter(pc.and_(rows["at_risk"], passes_threshold(rows["arr"], arr_threshold)))
    details = reader.details(month, possible["position"].combine_chunks())
    history = reader.history(month, pc.unique(possible["account_id"]))
    return Window(
        month=month,
        rows=pa.concat_tables([rows, *history]),
        details=details,
        source_version=source.version,
        rows_scanned=reader.rows_scanned,
        rows_without_account_id=nameless,
    )


class _Reader:
    """The three passes over the files, and which row groups they have decoded."""

    def __init__(self, source: Source) -> None:
        self._files = [AccountFile(source, file, index) for index, file in enumerate(source.files)]
        self._decoded: dict[tuple[int, int], int] = {}

    @property
    def rows_scanned(self) -> int:
        """Rows of the row groups decoded so far, each row group once."""
        return sum(self._decoded.values())

    def month_rows(self, month: date) -> tuple[pa.Table, int]:
        """Every row of `month` with an `account_id`, and how many are without."""
        kept, found = [ROWS.empty_table()], 0
        for number, group in self._groups(month):
            self._decoded[number, group.index] = group.rows
            for rows in self._files[number].rows(group, only=month):
                found += rows.num_rows
                kept.append(rows.filter(pc.not_equal(rows["account_id"], "")))
        table = pa.concat_tables(kept)
        return table, found - table.num_rows

    def details(self, month: date, positions: pa.Array) -> pa.Table:
        """Read the details of the rows at `positions`, from the row groups that hold any."""
        kept = [DETAILS.empty_table()]
        for number, group in self._groups(month):
            if self._files[number].holds(group, positions):
                kept.extend(self._files[number].details(group, positions))
        return pa.concat_tables(kept)

    def history(self, month: date, accounts: pa.Array) -> list[pa.Table]:
        """Rows of `accounts` before `month`, back to where none of them was at risk any more.

        Each row group is decoded once, for the accounts that were still at risk then. One that holds many
        months gives up all of its rows before `month` at once, for the steps to come.
        """
        kept = [ROWS.empty_table()]
        done: set[tuple[int, int]] = set()
        earlier = month_before(month)
        while earlier and len(accounts):
            for number, group in self._groups(earlier):
                if (number, group.index) not in done:
                    done.add((number, group.index))
                    self._decoded[number, group.index] = group.rows
                    kept.extend(self._files[number].rows(group, before=month, accounts=accounts))
            rows = pa.concat_tables(kept)
            at_risk = rows.filter(pc.and_(rows["at_risk"], pc.equal(rows["month"], earlier)))
            accounts = accounts.filter(pc.is_in(accounts, value_set=at_risk["account_id"].combine_chunks()))
            earlier = month_before(earlier)
        return kept

    def _groups(self, month: date) -> Iterator[tuple[int, RowGroup]]:
        """Find the row groups that may hold rows of `month`, each with its file's number, in source order."""
        for number, file in enumerate(self._files):
            for group in file.groups(month):
                yield number, group
