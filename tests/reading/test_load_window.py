import contextlib
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.domain import SourceChanged, SourceInvalid
from core.runtime import Settings
from core.sources import Need, Source, Window, open_uri, read_window
from tasks.dedupe import dedupe
from tests.reading.stages import alerts_of, assess, counts_of, read
from tests.reading.worlds import MONTH, Layout, back, row, table, write


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.parquet"
    rows = [row(f"a{n}", back(MONTH, n % 3)) for n in range(600)]
    pq.write_table(table(rows), path, row_group_size=100, compression="none", write_page_checksum=True)
    return path


@pytest.mark.parametrize("size", [0, 1, 3, 4, 11, 12, 500, 5000, -1, -4, -8, -100])
def test_truncated_file_is_invalid(good: Path, size: int) -> None:
    good.write_bytes(good.read_bytes()[:size])
    with pytest.raises(SourceInvalid, match=r"good\.parquet"):
        read(good)


@pytest.mark.parametrize("size", [0, 5])
def test_size_of_a_tiny_file_is_named(good: Path, size: int) -> None:
    good.write_bytes(good.read_bytes()[:size])
    with pytest.raises(SourceInvalid, match=f"it has only {size} bytes"):
        read(good)


def test_text_file_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_text("account_id,month\n" * 1000)
    with pytest.raises(SourceInvalid, match=r"data\.parquet"):
        read(path)


def test_flipped_bit_in_a_page_is_invalid(good: Path) -> None:
    metadata = pq.ParquetFile(good).metadata.row_group(0)
    names = [metadata.column(i).path_in_schema for i in range(metadata.num_columns)]
    for name in ("account_id", "month", "status", "arr", "updated_at", "account_name"):
        chunk = metadata.column(names.index(name))
        content = bytearray(good.read_bytes())
        content[chunk.dictionary_page_offset + chunk.total_compressed_size - 3] ^= 0x10
        damaged = good.with_name(f"{name}.parquet")
        damaged.write_bytes(content)
        with pytest.raises(SourceInvalid, match=f"{name}.parquet"):
            read(damaged)


def test_contradictory_footer_does_not_end_the_process(tmp_path: Path) -> None:
    """Pyarrow 26.0 calls abort() for such a column chunk or its statistics."""
    path = tmp_path / "data.parquet"
    pq.write_table(table([row()]), path, store_schema=False)
    content = path.read_bytes()
    chunk = content.rindex(b"month")
    contradictions = 0
    for place in range(chunk - 12, chunk + 120):
        for bit in (0, 2, 5):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            try:
                read(path)
            except SourceInvalid as error:
                contradictions += "histogram" in str(error) or "contradicts" in str(error)
    assert contradictions


def test_flipped_bit_in_a_footer_is_at_worst_invalid(good: Path) -> None:
    content = good.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    random = Random(7)  # noqa: S311 - the same flips each time
    for _ in range(150):
        damaged = bytearray(content)
        damaged[random.randrange(footer, len(content))] ^= 1 << random.randrange(8)
        good.write_bytes(damaged)
        with contextlib.suppress(SourceInvalid):
            read(good)


def test_owner_column_may_be_missing(tmp_path: Path) -> None:
    pq.write_table(table([row()]).drop_columns(["account_owner"]), tmp_path / "x.parquet")
    [alert] = alerts_of(assess(tmp_path))
    assert (alert.account_id, alert.account_owner) == ("a1", None)


@pytest.mark.parametrize(
    "name",
    ["account_id", "account_name", "account_region", "month", "status", "renewal_date", "arr", "updated_at"],
)
def test_missing_column_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(table([row()]).drop_columns(name), path)
    with pytest.raises(SourceInvalid, match=f"data.parquet: column {name} is missing"):
        read(path)


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
    path = tmp_path / "data.parquet"
    good = table([row()])
    pq.write_table(good.set_column(good.column_names.index(name), name, values), path)
    with pytest.raises(SourceInvalid, match=f"column {name} must be .*{found}"):
        read(path)


def test_wrong_type_of_repeated_values_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.sources.parquet.row_groups.DICTIONARY_ROWS", 1)
    path = tmp_path / "data.parquet"
    good = table([row()] * 1_000)
    pq.write_table(good.set_column(good.column_names.index("arr"), "arr", pa.array(["1"] * 1_000)), path)
    with pytest.raises(SourceInvalid, match="but it is string: convert it"):
        read(path)


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
    for status, raises in (("At Risk", True), ("Healthy", False)):
        path = tmp_path / "data.parquet"
        good = table([row(status=status)])
        pq.write_table(good.set_column(good.column_names.index("arr"), "arr", arr), path)
        if raises:
            with pytest.raises(SourceInvalid, match=r"data\.parquet: column arr has a value .*: correct it"):
                read(path)
        else:
            assert read(path).other_rows == 1


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
    good = table([row() | {"status": status, name: "QQQQ"}])
    pq.write_table(good, path, compression="none", use_dictionary=False, write_statistics=False)
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


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_nul_in_text_is_read_as_replacement(tmp_path: Path, kind: pa.DataType) -> None:
    texts = {"account_name": "N\0", "account_region": "\0", "account_owner": "\0O"}
    rows = [row("b\ufffd", MONTH, **texts), row("b\0", back(MONTH, 1)), row("z", back(MONTH, 1), "Healthy")]
    types = {"account_id": kind, "account_region": kind}
    path = tmp_path / "data.parquet"
    # One row a row group, so that statistics could prune the row with NUL.
    pq.write_table(table(rows, types), path, row_group_size=1)
    (alert,) = alerts_of(assess(path))
    assert (alert.account_id, alert.duration_months) == ("b\ufffd", 2)
    assert (alert.account_name, alert.account_region, alert.account_owner) == ("N\ufffd", "\ufffd", "\ufffdO")


@pytest.mark.parametrize(("unit", "nanos"), [("ms", 10**6), ("us", 10**3), ("ns", 1)])
@pytest.mark.parametrize(("later", "winner"), [(-1, 2), (0, 2), (1, 1)])
def test_timestamp_units_are_compared_exactly(
    tmp_path: Path, unit: str, nanos: int, later: int, winner: int
) -> None:
    ticks = 1_700_000_000_123
    times = ((ticks * nanos + later, "ns"), (ticks, unit))
    for arr, (time, kind) in enumerate(times, 1):
        updated_at = pa.array([time]).cast(pa.timestamp(kind))
        made = table([row(arr=arr)]).drop_columns("updated_at").append_column("updated_at", updated_at)
        pq.write_table(made, tmp_path / f"{arr}.parquet")
    assert dedupe.fn(read(tmp_path).rows)["arr"].to_pylist() == [winner]


def test_old_row_groups_are_never_opened(tmp_path: Path) -> None:
    rows = [
        row(f"a{n}", back(MONTH, age), "At Risk" if age < 2 else "Healthy")
        for age in range(36)
        for n in range(10)
    ]
    write(rows, tmp_path, Layout(row_group_size=10))
    # The month, the month before, and the month that ends every streak.
    assert read(tmp_path).rows_scanned == 30


def test_row_groups_of_other_accounts_are_not_opened(tmp_path: Path) -> None:
    accounts = [f"a{n}" for n in range(10)]
    now = [row(account, status="At Risk" if account == "a5" else "Healthy") for account in accounts]
    old = [row(account, back(MONTH, age)) for account in accounts for age in (1, 2, 3)]
    pq.write_table(table(now), tmp_path / "now.parquet")
    pq.write_table(table(old), tmp_path / "old.parquet", row_group_size=3)
    assert read(tmp_path).rows_scanned == 10 + 3


@pytest.mark.parametrize(
    ("account_id", "scanned"),
    [("a", 1), ("b", 3), ("c", 3), ("d", 3), ("da", 1), ("e", 1), ("a\0", 1), ("e\ufffd", 1), ("\0", 3)],
)
def test_accounts_outside_the_statistics_are_not_looked_up(
    tmp_path: Path, account_id: str, scanned: int
) -> None:
    """An id with U+FFFD may have a NUL in the file, which the statistics still have."""
    pq.write_table(table([row(account_id)]), tmp_path / "now.parquet")
    pq.write_table(table([row("b", back(MONTH, 1)), row("d", back(MONTH, 1))]), tmp_path / "old.parquet")
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


def test_row_group_is_counted_once(tmp_path: Path) -> None:
    write([row("a1", back(MONTH, age)) for age in range(12)], tmp_path, Layout())
    assert read(tmp_path).rows_scanned == 12


def test_files_of_other_partitions_are_not_opened(tmp_path: Path) -> None:
    write([row(), row(month=back(MONTH, 1), status="Healthy")], tmp_path, Layout(hive=True))
    old = tmp_path / "month=2020-01-01" / "part.parquet"
    old.parent.mkdir()
    old.write_text("not Parquet")
    assert read(tmp_path).rows.num_rows == 2


def test_partition_decides_the_month_of_its_rows(tmp_path: Path) -> None:
    part = tmp_path / f"month={MONTH}" / "part.parquet"
    part.parent.mkdir()
    pq.write_table(table([row(month=back(MONTH, 1))]), part)
    assert read(tmp_path).rows["month"].to_pylist() == [MONTH]


def test_column_without_values_may_have_type_null(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("account_region", "account_owner", "renewal_date", "arr"))
    types = dict.fromkeys(nothing, pa.null())
    pq.write_table(table([row(**nothing)], types), tmp_path / "data.parquet")
    assert read(tmp_path).details.num_rows == 1


def test_file_replaced_before_reading_is_source_changed(good: Path) -> None:
    source = open_uri(good.as_uri(), Settings())
    window = read_window(source, MONTH, Need(0))
    good.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(SourceChanged):
        read_window(source, MONTH, Need(0))
    assert window.other_rows or window.rows.num_rows


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
