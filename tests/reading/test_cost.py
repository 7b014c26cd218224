"""The cost of reading a month: which bytes are read, how often, and what stays in memory."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Barrier
from types import SimpleNamespace
from unittest.mock import Mock, patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import core
from core.domain import Interrupted, SourceInvalid
from core.runtime import Settings, process_stop
from core.sources import Need, Source, Window, open_uri
from core.sources.parquet.columns import is_at_risk
from core.sources.parquet.footer import RowGroup
from core.sources.reader import _months_at_once, _Reader, read_window
from core.sources.source import Bytes, Range, SourceFile
from tests.cli.calling import run_program
from tests.reading.stages import CountedSource, work_with
from tests.reading.worlds import MONTH, Row, back, row, table
from tests.waiting import HANG_SECONDS, until

ACCOUNTS, MONTHS = 400, 24
THRESHOLD = 10_000


def rows() -> Iterator[Row]:
    """Return rows of accounts at risk for at most eight months; one row in fifty is a duplicate."""
    random = Random(3)  # noqa: S311 - the same rows each time
    for age in range(MONTHS):
        for number in range(ACCOUNTS):
            status = "At Risk" if age < number % 9 else "Healthy"
            one = row(f"a{number:05d}", back(MONTH, age), status, account_name=f"Name {random.random()}")
            yield from [one, one] if random.random() < 1 / 50 else [one]


def write(path: Path, order: Callable[[Row], object], row_group_size: int) -> None:
    pq.write_table(table(sorted(rows(), key=order)), path, row_group_size=row_group_size)


def read(path: Path, need: Need = Need(THRESHOLD)) -> tuple[Window, CountedSource]:  # noqa: B008  # frozen
    source = CountedSource(open_uri(path.as_uri(), Settings()))
    return read_window(source, MONTH, need), source


def by_month(one: Row) -> object:
    return one["month"], one["account_id"]


def by_account(one: Row) -> object:
    return one["account_id"], one["month"]


@pytest.mark.parametrize("order", [by_month, by_account])
@pytest.mark.parametrize("row_group_size", [100, 3000])
@pytest.mark.parametrize(
    "need", [Need(THRESHOLD), Need(THRESHOLD, at_risk_before=True, look_back=1)], ids=["at risk", "recovered"]
)
def test_almost_no_byte_is_read_twice(
    tmp_path: Path, order: Callable[[Row], object], row_group_size: int, need: Need
) -> None:
    path = tmp_path / "x.parquet"
    write(path, order, row_group_size)
    _, source = read(path, need)
    for asked in source.asked.values():
        asked.sort()
        again = sum(max(0, end - after) for (_, end), (after, _) in pairwise(asked))
        # Two kinds of bytes may be read again: a row group whose last account continues in the next one, and
        # a gap that was read together with its neighbors.
        assert again < (0.2 if order is by_account else 0.01) * sum(end - start for start, end in asked)


def test_bytes_are_read_again_without_room_to_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.sources.workers.KEPT_BYTES", 0)
    path = tmp_path / "x.parquet"
    write(path, by_month, 100)
    _, source = read(path, Need(THRESHOLD, at_risk_before=True))
    asked = source.asked["x.parquet"]
    assert len({*asked}) < len(asked)


def test_tied_months_in_one_row_group_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    earlier = [
        row(f"a{number:05d}", back(MONTH, 1), status, account_name="A" * 40)
        for number in range(ACCOUNTS)
        for status in ("Healthy", "At Risk")
    ]
    now = [row(f"a{number:05d}", MONTH, "At Risk", account_name="A" * 40) for number in range(ACCOUNTS)]
    pq.write_table(table(earlier + now), path, use_dictionary=False, compression="none")
    window, source = read(path)
    assert window.rows["updated_at"].null_count == 0
    asked = sorted(source.asked["x.parquet"])
    assert all(end <= after for (_, end), (after, _) in pairwise(asked))


def test_only_contradictory_months_are_asked_for_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.sources.parquet.footer.FIRST_READ", (8, 8))
    monkeypatch.setattr("core.sources.parquet.footer.FOOTER_MARGIN", 0)
    statuses = {
        MONTH: ["At Risk"],
        back(MONTH, 1): ["At Risk", "Healthy", "At Risk"],
        back(MONTH, 2): ["At Risk"],
    }
    for month, found in statuses.items():
        pq.write_table(table([row("a1", month, status) for status in found]), tmp_path / f"{month}.parquet")
    window, source = read(tmp_path)
    assert window.rows_scanned == 5
    asked = {}
    for path, ranges in source.asked.items():
        metadata = pq.ParquetFile(tmp_path / path).metadata
        chunk = metadata.row_group(0).column(metadata.schema.names.index("updated_at"))
        asked[path] = any(start <= chunk.dictionary_page_offset < end for start, end in ranges)
    assert asked == {f"{MONTH}.parquet": True, "2025-12-01.parquet": True, "2025-11-01.parquet": False}


def test_row_group_costs_two_requests_and_old_ones_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.sources.reader._months_at_once", lambda *_: 1)
    path = tmp_path / "x.parquet"
    write(path, by_month, 408)
    window, source = read(path)
    metadata = pq.ParquetFile(path).metadata
    touched = [
        group
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        if any(
            start <= group.column(0).dictionary_page_offset < end for start, end in source.asked["x.parquet"]
        )
    ]
    assert window.rows_scanned == sum(group.num_rows for group in touched)
    # The month, eight of the longest streak, one that ends it, and one because months split row groups.
    assert len(touched) <= 11
    # At most two requests for the footer, and two more of the month's row groups for the details of alerts.
    assert len(source.asked["x.parquet"]) <= 2 * len(touched) + 4


def test_length_of_a_footer_is_guessed_from_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_with(monkeypatch, requests=0, decoders=1)
    made = table([row(month=back(MONTH, 1))])
    for number, columns in enumerate((200, 0, 200, 200)):
        more = {f"x{column}": pa.array([column]) for column in range(columns)}
        wide = pa.table({name: made[name] for name in made.column_names} | more)
        pq.write_table(wide, tmp_path / f"{number}.parquet")
    window, source = read(tmp_path)
    assert window.rows_scanned == 0
    assert source.calls == 2 + 1 + 1 + 1


def test_small_file_costs_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a footer has shown that few bytes hold it."""
    work_with(monkeypatch, requests=0, decoders=1)
    for month in (MONTH, back(MONTH, 1), back(MONTH, 2)):
        pq.write_table(table([row(month=month)]), tmp_path / f"{month}.parquet")
    window, source = read(tmp_path)
    assert (window.rows_scanned, source.calls) == (3, 3)


def test_statistics_alone_refuse_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.sources.parquet.row_groups.MAX_ROWS", ACCOUNTS // 2)
    write(tmp_path / "x.parquet", by_month, 100)
    source = CountedSource(open_uri(tmp_path.as_uri(), Settings()))
    with pytest.raises(SourceInvalid):
        read_window(source, MONTH, Need(THRESHOLD))
    assert source.calls <= 2, "only the footer is read"


@pytest.mark.parametrize(
    ("ages", "hive", "requests"),
    [((0,), False, 1), ((0,), True, 1), ((0, 1), False, 1), ((0, 1, 2), False, 2)],
)
def test_details_are_fetched_with_the_month_if_alerts_are_likely(
    tmp_path: Path, ages: tuple[int, ...], requests: int, *, hive: bool
) -> None:
    """A row group of more months has few rows of this one, and perhaps no alert."""
    names = Random(3)  # noqa: S311 - the same names each time
    made = table(
        [
            row(f"a{number:05d}", back(MONTH, age), account_name=names.randbytes(60).hex())
            for number in range(200)
            for age in ages
        ]
    )
    path = tmp_path / (f"month={MONTH}" if hive else "") / "x.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(made.drop_columns("month") if hive else made, path)
    window, source = read(tmp_path)
    assert window.details.num_rows == 200
    assert source.calls == 1 + requests, "the footer comes first"


def months_read(folder: Path, accounts: int, streak: int, need: Need) -> int:
    """Return how many of ten months are read of accounts that are at risk for `streak`, with ARR 50,000."""
    rows = [
        row(f"a{number}", back(MONTH, age), "At Risk" if age < streak else "Healthy")
        for age in range(10)
        for number in range(accounts)
    ]
    pq.write_table(table(rows), folder / "x.parquet", row_group_size=accounts)
    window = read_window(open_uri(folder.as_uri(), Settings()), MONTH, need)
    assert window.rows_scanned % accounts == 0
    return window.rows_scanned // accounts


@pytest.mark.parametrize(
    ("months", "found"),
    [
        (1, [(1, 1), (29, 1), (14, 2), (1, 9)]),
        (2, [(30, 1), (399, 1), (15, 2), (1, 10), (1, 19)]),
        (3, [(400, 1), (799, 1), (80, 5), (1, 20)]),
        (4, [(800, 1), (1, 30)]),
        (7, [(6400, 1)]),
    ],
)
def test_more_at_risk_for_longer_read_more_months_at_once(months: int, found: list[tuple[int, int]]) -> None:
    """Each pair is the number of accounts and for how many months they have been at risk."""
    for accounts, months_back in found:
        assert _months_at_once(accounts, months_back) == months


@pytest.mark.parametrize(
    ("accounts", "streak", "threads", "months"),
    [
        (2, 1, 8, 1),
        (80, 1, 8, 4),
        (1, 3, 8, 4),
        # No more than what the threads begin at once.
        (80, 1, 0, 2),
        (80, 1, 1, 3),
    ],
)
def test_months_are_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounts: int, streak: int, threads: int, months: int
) -> None:
    monkeypatch.setattr("core.sources.reader.SECOND_MONTH_LIKELY", 3)
    monkeypatch.setattr("core.sources.reader.NEXT_MONTH_LIKELY", 10)
    work_with(monkeypatch, requests=threads, decoders=1)
    with patch.object(_Reader, "_begin_history", autospec=True, side_effect=_Reader._begin_history) as begun:
        used = months_read(tmp_path, accounts, streak, Need(THRESHOLD))
    assert used == 1 + streak, "the others were read in vain"
    assert begun.call_count == months


@pytest.mark.parametrize(
    ("day", "scanned", "warned"), [(date(2025, 11, 15), 2, 0), (date(2025, 12, 15), 3, 1)]
)
def test_month_read_in_vain_is_left_out_of_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day: date, scanned: int, warned: int
) -> None:
    monkeypatch.setattr("core.sources.reader.SECOND_MONTH_LIKELY", 1)
    work_with(monkeypatch, requests=0, decoders=1)
    rows = [row(), row(month=back(MONTH, 1), status="Healthy"), row(month=day)]
    pq.write_table(table(rows), tmp_path / "x.parquet", row_group_size=1)
    window = read_window(open_uri(tmp_path.as_uri(), Settings()), MONTH, Need(THRESHOLD))
    assert (window.rows_scanned, window.months_not_first_day) == (scanned, warned)


@pytest.mark.parametrize("decoders", [1, 4])
def test_rows_scanned_do_not_depend_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders: int
) -> None:
    """Of a month that is read ahead, only the row groups count in which a streak still goes on."""
    monkeypatch.setattr("core.sources.reader.NEXT_MONTH_LIKELY", 10)
    work_with(monkeypatch, requests=0, decoders=decoders)
    rows = [
        row(f"a{number:02d}", back(MONTH, age), "At Risk" if age < (12 if number < 10 else 1) else "Healthy")
        for age in range(14)
        for number in range(100)
    ]
    pq.write_table(table(rows), tmp_path / "x.parquet", row_group_size=10)
    window, _ = read(tmp_path)
    assert window.rows_scanned == 100 + 100 + 11 * 10


def test_rows_before_the_end_of_a_streak_are_dropped(tmp_path: Path) -> None:
    rows = [
        row(account, back(MONTH, age), "Healthy" if (account, age) == ("short", 2) else "At Risk")
        for age in range(5)
        for account in ("short", "long")
    ]
    pq.write_table(table(rows), tmp_path / "x.parquet")
    window, _ = read(tmp_path)
    assert window.rows.num_rows == 3 + 5


@pytest.mark.parametrize("look_back", [0, 1, 2])
def test_account_below_the_threshold_is_followed_as_needed(tmp_path: Path, look_back: int) -> None:
    assert months_read(tmp_path, 1, 9, Need(50_001, look_back=look_back)) == 1 + look_back
    assert months_read(tmp_path, 1, 9, Need(50_000, look_back=look_back)) == 10


def test_only_the_window_stays_in_memory(tmp_path: Path) -> None:
    """Arrow keeps an error with its reader; the traceback of the error would keep all decoded data."""
    path = tmp_path / "x.parquet"
    write(path, by_account, 1000)
    before = pa.total_allocated_bytes()
    window, _ = read(path)
    assert pa.total_allocated_bytes() > before
    del window
    # Threads of Arrow may free their last buffers a moment later.
    until(lambda: pa.total_allocated_bytes() <= before)


def test_arrow_uses_the_allocator_that_frees_memory() -> None:
    program = "import flows.monthly_risk_alerts, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = run_program(sys.executable, "-c", program, environment=environment)
    allocator = "jemalloc" if os.uname().machine == "x86_64" else "mimalloc"
    assert (done.stdout.split(), done.stderr) == ([allocator], "")


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arrow_is_not_asked_for_an_allocator_it_lacks(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packages for ARM, on Linux and macOS, have no jemalloc."""
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    importlib.reload(core)
    assert "ARROW_DEFAULT_MEMORY_POOL" not in os.environ


def test_stop_signal_is_heard_between_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_stop, "requested", False)
    for name in "abc":
        pq.write_table(table([row()]), tmp_path / f"{name}.parquet")
    source = open_uri(tmp_path.as_uri(), Settings())
    opened = []

    def read_and_stop(file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        opened.append(file.path)
        process_stop.requested = True
        return Source.read(source, file, ranges)

    monkeypatch.setattr(source, "read", read_and_stop)
    with pytest.raises(Interrupted):
        read_window(source, MONTH, Need(THRESHOLD))
    assert opened == ["a.parquet"]


def test_stop_signal_is_heard_within_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group of a few megabytes can have billions of rows."""
    monkeypatch.setattr(process_stop, "requested", False)
    pq.write_table(table([row()] * 1_000), tmp_path / "x.parquet")
    monkeypatch.setattr(RowGroup, "rows_at_once", lambda *_: 100)

    def decode_and_stop(status: pa.Array) -> pa.Array:
        process_stop.requested = True
        return is_at_risk(status)

    decoded = Mock(side_effect=decode_and_stop)
    monkeypatch.setattr("core.sources.parquet.columns.is_at_risk", decoded)
    with pytest.raises(Interrupted):
        read(tmp_path / "x.parquet")
    assert decoded.call_count == 1


def test_remote_footers_are_read_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        pq.write_table(table([row()]), tmp_path / f"{name}.parquet")
    source = open_uri(tmp_path.as_uri(), Settings())
    source.requests = 8
    together = Barrier(3)

    def read_together(file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        together.wait(HANG_SECONDS)
        return Source.read(source, file, ranges)

    monkeypatch.setattr(source, "read", read_together)
    assert read_window(source, MONTH, Need(THRESHOLD)).rows.num_rows == 3
