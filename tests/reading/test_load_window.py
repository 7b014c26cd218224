import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.domain import SourceChanged, SourceInvalid
from core.sources import Source, Window, read_window
from tasks.dedupe import dedupe
from tests.reading.stages import alerts_of, assess, counts_of, put, read
from tests.reading.worlds import MONTH, Layout, back, row, table, write


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.parquet"
    rows = [row(f"a{n}", back(MONTH, n % 3)) for n in range(600)]
    pq.write_table(table(rows), path, row_group_size=100, compression="none", write_page_checksum=True)
    return path


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        *((0, last, f"it has only {last} bytes") for last in (0, 5)),
        *((0, last, "it does not end with a footer") for last in (11, 12, 500, 5000, -1, -4, -8, -100)),
        (-100, None, "it does not end with a footer"),
    ],
)
def test_truncated_file_is_invalid(good: Path, first: int, last: int | None, why: str) -> None:
    good.write_bytes(good.read_bytes()[first:last])
    with pytest.raises(SourceInvalid, match=rf"good\.parquet.*{why}"):
        read(good)


def test_flipped_bit_in_a_page_is_invalid(good: Path) -> None:
    metadata = pq.ParquetFile(good).metadata.row_group(0)
    undamaged = good.read_bytes()
    for chunk in map(metadata.column, range(metadata.num_columns)):
        content = bytearray(undamaged)
        content[chunk.dictionary_page_offset + chunk.total_compressed_size - 3] ^= 0x10
        good.write_bytes(content)
        with pytest.raises(SourceInvalid, match=r"good\.parquet"):
            read(good)


@pytest.mark.parametrize(
    "name",
    ["account_id", "account_name", "account_region", "month", "status", "renewal_date", "arr", "updated_at"],
)
def test_missing_column_is_named(tmp_path: Path, name: str) -> None:
    put(tmp_path / "data.parquet", without=name)
    with pytest.raises(SourceInvalid, match=f"data.parquet: column {name} is missing"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("account_id", pa.array([1]), "int64"),
        ("month", pa.array(["2026-01-01"]), "string"),
        ("status", pa.array([True]), "bool"),
        ("arr", pa.array(["1"]), "string"),
        ("updated_at", pa.array([date(2026, 1, 1)]), "date32"),
        ("account_owner", pa.array([1.5]), "double"),
        ("account_id", pa.array([b"a1"]), "binary"),
        ("arr", pa.array([1], pa.time32("s")), "time32"),
    ],
)
def test_wrong_type_is_named(tmp_path: Path, name: str, values: pa.Array, found: str) -> None:
    put(tmp_path / "data.parquet", **{name: values})
    with pytest.raises(SourceInvalid, match=f"data.parquet: column {name} must be .*{found}"):
        read(tmp_path)


@pytest.mark.parametrize(
    "arr",
    [
        pa.array([1.5]),
        pa.array([float("inf")]),
        pa.array([2.0**63]),
        pa.array([2**63], pa.uint64()),
        pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
    ],
)
def test_fractional_arr_is_invalid_only_in_an_alert(tmp_path: Path, arr: pa.Array) -> None:
    healthy = put(tmp_path / "healthy.parquet", row(status="Healthy"), arr=arr)
    assert read(healthy).other_rows == 1
    at_risk = put(tmp_path / "at_risk.parquet", row(), arr=arr)
    with pytest.raises(SourceInvalid, match=r"at_risk\.parquet: column arr has a value .*: correct it"):
        read(at_risk)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("account_id", "At Risk"),
        ("account_id", "Healthy"),
        ("account_name", "At Risk"),
        ("account_region", "At Risk"),
        ("account_owner", "At Risk"),
    ],
)
def test_invalid_utf8_is_invalid(tmp_path: Path, name: str, status: str) -> None:
    path = tmp_path / "data.parquet"
    made = table([row() | {"status": status, name: "QQQQ"}])
    pq.write_table(made, path, compression="none", use_dictionary=False, write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(SourceInvalid, match=r"data\.parquet"):
        read(path)


@pytest.mark.parametrize(
    "statistics",
    [
        pytest.param(b"6\0\x28\4acct\x98\4acct\x11\x11", id="only the greatest"),
        pytest.param(b"6\0\x38\4acct\x18\4acct\x11\x11", id="only the least"),
        pytest.param(b"\x18\4zzzz\x18\4zzzz\x16\0\x41\x11", id="of the deprecated order"),
    ],
)
def test_unusable_statistics_prune_no_account(tmp_path: Path, statistics: bytes) -> None:
    """The deprecated statistics of text follow the order of signed bytes."""
    path = tmp_path / "data.parquet"
    pq.write_table(table([row("acct"), row("acct", back(MONTH, 1))]), path, row_group_size=1)
    # In Thrift's compact protocol: no nulls, the greatest, the least, and that both are exact.
    written = b"6\0\x28\4acct\x18\4acct\x11\x11"
    content = path.read_bytes()
    assert written in content
    path.write_bytes(content.replace(written, statistics))
    (alert,) = alerts_of(assess(path))
    assert alert.duration_months == 2


def test_nul_in_a_dictionary_is_read_as_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.sources.parquet.row_groups.DICTIONARY_ROWS", 1)
    path = put(tmp_path / "data.parquet", row("b\ufffd"), *[row("b\0", back(MONTH, 1))] * 200)
    (alert,) = alerts_of(assess(path))
    assert (alert.account_id, alert.duration_months) == ("b\ufffd", 2)


@pytest.mark.parametrize(("unit", "nanos"), [("ms", 10**6), ("us", 10**3), ("ns", 1)])
@pytest.mark.parametrize(("later", "winner"), [(-1, 2), (0, 2), (1, 1)])
def test_times_of_any_unit_or_zone_are_compared_exactly(
    tmp_path: Path, unit: str, nanos: int, later: int, winner: int
) -> None:
    ticks = 1_700_000_000_123
    times = ((ticks * nanos + later, pa.timestamp("ns")), (ticks, pa.timestamp(unit, "Asia/Tokyo")))
    for arr, (time, kind) in enumerate(times, 1):
        updated_at = pa.array([time]).cast(kind)
        put(tmp_path / f"{arr}.parquet", row(arr=arr), updated_at=updated_at)
    assert dedupe.fn(read(tmp_path).rows)["arr"].to_pylist() == [winner]


@pytest.mark.parametrize(
    ("account_id", "scanned"),
    [("a", 1), ("b", 3), ("c", 3), ("d", 3), ("da", 1), ("e", 1), ("a\0", 1), ("e\ufffd", 1), ("\0", 3)],
)
def test_accounts_outside_the_statistics_are_not_looked_up(
    tmp_path: Path, account_id: str, scanned: int
) -> None:
    """An id with U+FFFD may have a NUL in the file, which the statistics still have."""
    put(tmp_path / "now.parquet", row(account_id))
    put(tmp_path / "old.parquet", row("b", back(MONTH, 1)), row("d", back(MONTH, 1)))
    assert read(tmp_path).rows_scanned == scanned


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "ba", "ca", "cb"],
        ["1-eu", "2-eu", "u", "eu", "31-eu"],
        ["x" * 40, "y" + "x" * 40, "x" * 16, "x" * 17],
        ["same"],
        ["\ufffd", "a\ufffd", "é", "aé"],
    ],
)
def test_ids_with_the_same_end_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[str]
) -> None:
    monkeypatch.setattr("core.sources.reader.HASH_TABLE_ROWS", 1)
    rows = [row(account_id, status="Healthy") for account_id in [*ids, *ids, ids[0]]]
    write(rows, tmp_path, Layout(row_group_size=2))
    assert counts_of(assess(tmp_path)).duplicates_found == len(ids) + 1


@pytest.mark.parametrize(("alert_type", "months"), [("at_risk", 1), ("recovered", 2)])
def test_small_account_is_followed_no_further_than_needed(
    tmp_path: Path, alert_type: str, months: int
) -> None:
    write([row(month=back(MONTH, age), arr=1) for age in range(4)], tmp_path, Layout(hive=True))
    assert read(tmp_path, alert_types=[alert_type]).rows_scanned == months


def test_rows_of_the_month_before_are_scanned(tmp_path: Path) -> None:
    """It is read to find the accounts, even if none of them is followed."""
    write([row(month=back(MONTH, 1)), row("a2", status="Healthy")], tmp_path, Layout(hive=True))
    assert read(tmp_path, alert_types=["recovered"]).rows_scanned == 2


def test_files_of_other_partitions_are_not_opened(tmp_path: Path) -> None:
    write([row(), row(month=back(MONTH, 1), status="Healthy")], tmp_path, Layout(hive=True))
    put(tmp_path / "month=2020-01-01" / "part.parquet").write_text("not Parquet")
    assert read(tmp_path).rows.num_rows == 2


def test_file_replaced_by_a_damaged_one_is_source_changed(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of two files together look like a damaged file."""
    read_ranges = Source.read

    def replace_and_read(source: Source, *arguments: Any) -> Any:
        parts = read_ranges(source, *arguments)
        good.write_bytes(good.read_bytes() * 2)
        return [bytes(len(part)) for part in parts]

    monkeypatch.setattr(Source, "read", replace_and_read)
    with pytest.raises(SourceChanged):
        read(good)


def test_file_added_during_the_read_is_source_changed(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_and_add(*arguments: Any) -> Window:
        window = read_window(*arguments)
        shutil.copy(good, good.with_name("later.parquet"))
        return window

    monkeypatch.setattr("tasks.load_window.read_window", read_and_add)
    with pytest.raises(SourceChanged):
        read(good.parent)
