"""The facts of a footer decide which bytes are read; they never change the answer."""

from datetime import date
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.runtime import Settings
from core.sources import Need, open_uri, read_window
from core.sources.parquet.footer import BATCH_BYTES, Chunk, RowGroup, dictionary_value, read_footer
from core.sources.parquet.ranges import Pieces
from tests.reading.stages import (
    CountedSource,
    alerts_of,
    assess,
    counts_of,
    footer_of,
    put,
    replaced,
    with_footer,
)
from tests.reading.worlds import MONTH, back, row, table

AFTER = date(2026, 2, 1)


def statistics(values: dict[int, bytes]) -> bytes:
    """Return the fields of statistics in Thrift's compact protocol."""
    written, last = b"", 0
    for field, value in values.items():
        # The difference to the number before, the type (a text), the length, and the text.
        written += bytes([field - last << 4 | 8, len(value)]) + value
        last = field
    return written


@pytest.mark.parametrize(
    ("fields", "scanned"),
    [((1, 2), 2), ((5, 6), 2), ((2, 5), 2), ((1,), 4), ((2,), 4), ((5,), 4), ((6,), 4), ((), 4)],
    ids=str,
)
def test_only_both_bounds_of_the_month_prune(tmp_path: Path, fields: tuple[int, ...], scanned: int) -> None:
    """The fields 1 and 2 are the deprecated bounds, 5 and 6 those of today."""
    path = tmp_path / "data.parquet"
    pairs = ((MONTH, AFTER), (back(MONTH, 3), back(MONTH, 2)))
    pq.write_table(table([row(month=month) for pair in pairs for month in pair]), path, row_group_size=2)
    footer = footer_of(path)
    for pair in pairs:
        least, greatest = ((month - date(1970, 1, 1)).days.to_bytes(4, "little") for month in pair)
        bounds = {1: greatest, 2: least, 5: greatest, 6: least}
        # Between them, the number of nulls; at the end, that both are exact.
        written = statistics({1: greatest, 2: least}) + b"\x16\0" + statistics({2: greatest, 3: least})
        written += b"\x11\x11"
        assert written in footer
        footer = footer.replace(written, statistics({field: bounds[field] for field in fields}))
    with_footer(path, footer)
    found = assess(path)
    assert (len(alerts_of(found)), counts_of(found).rows_scanned) == (1, scanned)


def test_bounds_of_a_month_without_values_are_not_used(tmp_path: Path) -> None:
    """A writer may have written zeros there."""
    path = tmp_path / "data.parquet"
    pq.write_table(replaced(table([row()]), month=pa.nulls(1, pa.int64())), path)
    before, nulls, after = footer_of(path).rpartition(b"\x1c\x36\x02\0\x19\x2c\x15\x04")
    assert b"month" in before
    zeros = statistics({1: bytes(8), 2: bytes(8)})
    with_footer(path, before + nulls.replace(b"\x36\x02", zeros + b"\x16\x02") + after)
    assert assess(path).alerts.num_rows == 0


@pytest.mark.parametrize("bounds", [b"&\x02\x18\x02a1", b"(\x02a1\x16\x02"], ids=["greatest", "least"])
def test_bounds_of_accounts_that_are_no_text_are_not_used(tmp_path: Path, bounds: bytes) -> None:
    path = put(tmp_path / "data.parquet", row("a1"), row("a1", back(MONTH, 1)))
    # A number (type 6) in place of the greatest or the least value (fields 5 and 6).
    with_footer(path, footer_of(path).replace(b"(\x02a1\x18\x02a1", bounds, 1))
    assert alerts_of(assess(path))[0].duration_months == 2


def test_int96_bounds_of_a_month_are_not_used(tmp_path: Path) -> None:
    """Writers order their bytes in different ways."""
    path = tmp_path / "data.parquet"
    made = table([row()], {"month": pa.timestamp("us")})
    pq.write_table(made, path, use_deprecated_int96_timestamps=True)
    before, name, after = footer_of(path).rpartition(b"month")
    bounds = b"\x1c" + statistics({5: bytes(12), 6: bytes(12)}) + b"\0"
    # Arrow writes none, so that the header of the next field has the difference to field 11.
    with_footer(path, before + name + after.replace(b"\x29\x2c", bounds + b"\x19\x2c", 1))
    assert assess(path).alerts.num_rows == 1


def test_rows_of_all_row_groups_have_their_own_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = table([row(f"a{number}") for number in range(4)])
    with pq.ParquetWriter(tmp_path / "data.parquet", made.schema) as writer:
        for start, rows in ((0, 2), (2, 0), (2, 2)):
            writer.write_table(made.slice(start, rows))
    source = open_uri(tmp_path.as_uri(), Settings())
    monkeypatch.setattr("core.sources.parquet.footer.MAX_FILE_ROWS", 4)
    groups = read_footer(source, source.files[0], "UTC", None).groups
    assert [(group.index, group.first_row, group.rows) for group in groups] == [(0, 0, 2), (2, 2, 2)]
    monkeypatch.setattr("core.sources.parquet.footer.MAX_FILE_ROWS", 3)
    with pytest.raises(ValueError, match="contradicts itself about its row groups"):
        read_footer(source, source.files[0], "UTC", None)


@pytest.mark.parametrize("first_read", [0, 4_000, 64_000])
def test_columns_read_with_the_footer_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_read: int
) -> None:
    names = Random(3)  # noqa: S311 - the same names each time
    rows = [row(f"a{number}", account_name=names.randbytes(40).hex()) for number in range(400)]
    path = put(tmp_path / "x.parquet", *rows)
    first_read += len(footer_of(path)) + 8
    monkeypatch.setattr("core.sources.parquet.footer.FIRST_READ", (first_read, first_read))
    source = CountedSource(open_uri(path.as_uri(), Settings()))
    assert read_window(source, MONTH, Need(10_000)).details.num_rows == 400
    first = max(0, path.stat().st_size - first_read)
    [*asked] = source.asked["x.parquet"]
    assert asked[0] == (first, path.stat().st_size)
    assert all(start < first for start, _ in asked[1:])
    assert bool(asked[1:]) == (first > 0)


# The header of a dictionary page: its type, its sizes, and the struct with its number of values.
SIZE, COMPRESSED = b"\x15\xc8\x01", b"\x15\x02"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x15\x08\x15\x04\0\0", 25),
        (b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x15\x02\x15\x04\0\0 and the page", 100),
        pytest.param(b"\x15\x04\x25\x02\x4c\x15\x06\0\0", 0, id="no size"),
        pytest.param(b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x15\0\0\0", 0, id="no values"),
        pytest.param(b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x15\x01\0\0", 0, id="fewer than no values"),
        pytest.param(b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x25\x06\0\0", 0, id="no number of values"),
        pytest.param(b"\x15\0" + SIZE + COMPRESSED + b"\x2c\x15\x06\0\0", 0, id="a data page"),
        pytest.param(b"\x15\x04" + SIZE + COMPRESSED + b"\x4c\x15", 0, id="longer than what is read"),
        pytest.param(b"\x15\x04\x18\x01a" + COMPRESSED, 0, id="no page header"),
    ],
)
def test_size_of_a_value_is_in_the_header_of_a_dictionary(header: bytes, found: int) -> None:
    assert dictionary_value(header) == found


@pytest.mark.parametrize(
    ("sizes", "row_bytes"),
    [pytest.param([1_000], 100, id="plain"), pytest.param([1_000, 500], 150, id="nested")],
)
def test_bytes_of_a_row_are_those_of_all_chunks(sizes: list[int], row_bytes: int) -> None:
    group = RowGroup(0, {"arr": [Chunk([0], size, (0, 0), None) for size in sizes]}, 0, 10, None)
    assert group.rows_at_once(["arr"], Pieces(0, []), BATCH_BYTES) == BATCH_BYTES // row_bytes
    assert group.rows_at_once(["arr"], Pieces(0, []), 7) == 7
