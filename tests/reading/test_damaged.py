"""Damaged files never end or block the process, nor give a wrong answer where a checksum covers them."""

import re
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.domain import SourceInvalid
from core.sources.parquet.thrift import read_struct
from tests.reading.fuzz import ALLOWED, rounds
from tests.reading.stages import alerts_of, assess, footer_of, put, read, with_footer
from tests.reading.worlds import MONTH, back, row, table


def test_damaged_file_gives_an_answer_or_a_clear_error() -> None:
    outcomes = rounds(seed=1, numbers=range(60))
    assert outcomes.keys() <= set(ALLOWED)
    assert outcomes["source_invalid"] > 10


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("\n Couldn't read it. \nAt line 7."), "Couldn't read it"),
        (pa.ArrowInvalid("x" * 201), "x" * 200),
        (pa.ArrowNotImplementedError("Unsupported"), "Unsupported"),
        (ValueError(), "the file contradicts itself"),
        (KeyError("page"), "the file contradicts itself"),
    ],
    ids=["one line", "200 characters", "another kind of Arrow's", "no reason", "another type"],
)
def test_reason_is_a_short_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("core.sources.parquet.row_groups.read_footer", fail)
    path = put(tmp_path / "x.parquet")
    with pytest.raises(SourceInvalid) as caught:
        read(path)
    assert str(caught.value).endswith(f"cannot be read as Parquet: {reason}: export the file again")


def write_with_metadata(
    path: Path, metadata: dict[str, str], *, store_schema: bool, **types: pa.DataType
) -> None:
    made = table([row()], types)
    with pq.ParquetWriter(path, made.schema, store_schema=store_schema) as writer:
        writer.write_table(made)
        writer.add_key_value_metadata(metadata)


@pytest.mark.parametrize("schema", ["x", "no base64", "AAAA", "AAAAAAAA", "/////wAB"])
def test_undecodable_arrow_schema_is_invalid(tmp_path: Path, schema: str) -> None:
    utc = pa.timestamp("us", "UTC")
    write_with_metadata(tmp_path / "x.parquet", {"ARROW:schema": schema}, store_schema=False, month=utc)
    with pytest.raises(SourceInvalid, match=r"x\.parquet cannot be read as Parquet: .*: export"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us")], ids=str)
def test_arrow_schema_is_read_only_for_zones(tmp_path: Path, kind: pa.DataType) -> None:
    """Arrow cannot decode a schema with types that it lacks, such as Int128 of Polars."""
    write_with_metadata(tmp_path / "x.parquet", {"ARROW:schema": "x"}, store_schema=False, month=kind)
    assert alerts_of(assess(tmp_path / "x.parquet"))


@pytest.mark.parametrize("stored", [True, False])
def test_metadata_named_like_the_arrow_schema_is_ignored(tmp_path: Path, *, stored: bool) -> None:
    write_with_metadata(tmp_path / "x.parquet", {"arrow:schema": "x"}, store_schema=stored)
    assert alerts_of(assess(tmp_path / "x.parquet"))


@pytest.mark.parametrize("length", [0, 3, 8])
@pytest.mark.parametrize("month", [MONTH, back(MONTH, 1)], ids=["the greatest", "the least"])
def test_statistics_of_another_length_are_refused(tmp_path: Path, month: date, length: int) -> None:
    path = put(tmp_path / "x.parquet", row("a1"), row("a1", back(MONTH, 1)))
    value = (month - date(1970, 1, 1)).days.to_bytes(4, "little")
    # The header of a binary field, its length, and the value.
    cut = footer_of(path).replace(b"\x04" + value, bytes([length]) + (value + bytes(4))[:length])
    with_footer(path, cut)
    with pytest.raises(SourceInvalid, match="statistics of month"):
        read(path)


# The chunk of `arr`: its type, encodings, name, compression, number of values, sizes, places and statistics.
CHUNK_OF_ARR = re.compile(
    rb"\x15(?P<type>.)\x195\0\x06\x10\x19\x18\x03arr\x15\x02\x16\x04\x16..\x16(?P<size>..)&(?P<place>..)&..\x1c"
    rb"\x18\x08.{8}\x18\x08.{8}\x16\0\((?P<bound>\x08....)",
    re.DOTALL,
)


ELSEWHERE = "the footer contradicts itself about the place of arr"


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        pytest.param(
            "type", b"\x02", "ColumnMetaData type does not match", id="another type than in the schema"
        ),
        pytest.param("size", b"\x01", ELSEWHERE, id="a negative size"),
        pytest.param("size", b"\xd0\x0f", ELSEWHERE, id="beyond the data"),
        pytest.param("place", b"\x01", ELSEWHERE, id="a negative place"),
        pytest.param("bound", b"\x04", "Unexpected end of stream", id="a bound of 32 bits"),
    ],
)
def test_contradictory_chunk_is_named(tmp_path: Path, part: str, value: bytes, reason: str) -> None:
    path = put(tmp_path / "x.parquet", row("a1"), row("a1", back(MONTH, 1)))
    footer = footer_of(path)
    chunk = CHUNK_OF_ARR.search(footer)
    with_footer(path, footer[: chunk.start(part)] + value + footer[chunk.end(part) :])
    with pytest.raises(SourceInvalid, match=f"cannot be read as Parquet: {reason}"):
        read(path)


def test_size_that_is_no_number_is_invalid(tmp_path: Path) -> None:
    """Arrow parses the footer only later, because the file has the schema of an earlier one."""
    put(tmp_path / "a.parquet")
    path = put(tmp_path / "b.parquet", row("a1"), row("a1", back(MONTH, 1)))
    # The size before compression of `account_id`, after its name, compression and number of values.
    size = re.compile(rb"(?<=account_id\x15\x02\x16\x04)\x16[\x80-\xff]*.", re.DOTALL)
    with_footer(path, size.sub(b"\x18\1a", footer_of(path)))
    with pytest.raises(SourceInvalid, match=r"b\.parquet cannot be read as Parquet"):
        read(tmp_path)


@pytest.mark.parametrize("rows", [b"\x80" * 9 + b"\x01", b"\x01"], ids=["2^62", "-1"])
def test_impossible_number_of_rows_is_invalid(tmp_path: Path, rows: bytes) -> None:
    path = put(tmp_path / "x.parquet", *(row(f"a{number}") for number in range(100)))
    # The number of rows of the row group: the header of the field, and 100 as a zigzag varint.
    start, _, end = footer_of(path).rpartition(b"\x16\xc8\x01")
    with_footer(path, start + b"\x16" + rows + end)
    with pytest.raises(SourceInvalid, match="contradicts itself about its row groups"):
        read(path)


@pytest.mark.parametrize("times", [0, 2], ids=["too few", "too many"])
def test_row_group_with_other_columns_than_the_schema_is_invalid(tmp_path: Path, times: int) -> None:
    path = tmp_path / "x.parquet"
    made = table([row()]).append_column("x", pa.array([1]))
    pq.write_table(made, path)
    number = made.num_columns
    # The list of column chunks, whose header has its length; `x` is the last one.
    before, _, chunks = footer_of(path).partition(bytes([0x19, number << 4 | 12]))
    start = 0
    for _ in range(number - 1):
        _, start = read_struct(chunks, start)
    _, end = read_struct(chunks, start)
    header = bytes([0x19, number - 1 + times << 4 | 12])
    with_footer(path, before + header + chunks[:start] + chunks[start:end] * times + chunks[end:])
    with pytest.raises(SourceInvalid, match="contradicts itself about its row groups"):
        read(path)
