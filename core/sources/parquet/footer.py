"""The footer of a Parquet file: its row groups, the positions of their columns, and their statistics."""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.sources.parquet.columns import DATES, EXPECTED, dates, find_columns
from core.sources.parquet.ranges import Pieces
from core.sources.parquet.thrift import Shape, read_struct
from core.sources.source import Bytes, Range, Source, SourceFile

MAGIC = b"PAR1"
ARROW_SCHEMA = b"ARROW:schema"
"""The name of the schema that Arrow writes into its files."""
HIDDEN_SCHEMA = b"\0" + ARROW_SCHEMA[1:]
"""A name of the same length, which no writer uses."""
EPOCH = date(1970, 1, 1)
TAIL = 8
"""The length of the footer, and the magic."""
FIRST_READ = (8 * 2**10, 64 * 2**10)
"""The least and the most bytes to read from the end of a file while the footer's length is unknown."""
FOOTER_MARGIN = 256
"""How many bytes longer than those before the next footer may be without a second request."""
DICTIONARY_READ_BYTES = 16 * 2**20
"""If the values of a chunk may take more bytes than this, its dictionary page is read for their size."""
PAGE_HEADER_BYTES = 256
"""Bytes that hold the whole header of a dictionary page."""
REPETITIVE_BYTES = 4
"""A chunk with fewer bytes a value, before compression, is mostly the indices of a dictionary."""
MAX_FILE_ROWS = 2**40
"""The number of positions per file; 2^23 files with this number of rows fit into an int64."""

TYPE_NAMES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
DELTA_STRINGS = frozenset({6, 7})
"""The encodings DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY, of which Arrow (26.0) makes no dictionary."""

# Fields by their names and numbers in `parquet.thrift`: of the file and its row groups, of a column chunk, of
# its statistics (the first two are deprecated), and of the header of a page.
ROW_GROUPS, COLUMNS, META_DATA, NUM_ROWS = 4, 1, 3, 3
TYPE, ENCODINGS, NUM_VALUES, UNCOMPRESSED_SIZE, COMPRESSED_SIZE = 1, 2, 5, 6, 7
DATA_PAGE_OFFSET, DICTIONARY_PAGE_OFFSET, STATISTICS = 9, 11, 12
MAX, MIN, MAX_VALUE, MIN_VALUE = 1, 2, 5, 6
PAGE_SIZE, DICTIONARY_HEADER, DICTIONARY_VALUES = 2, 7, 1

INTEGERS = (TYPE, NUM_VALUES, UNCOMPRESSED_SIZE, COMPRESSED_SIZE, DATA_PAGE_OFFSET, DICTIONARY_PAGE_OFFSET)
CHUNK: Shape = {
    ENCODINGS: [int],
    STATISTICS: dict.fromkeys((MAX, MIN, MAX_VALUE, MIN_VALUE), bytes),
    **dict.fromkeys(INTEGERS, int),
}
FILE: Shape = {ROW_GROUPS: [{COLUMNS: [{META_DATA: CHUNK}], NUM_ROWS: int}]}
PAGE_HEADER: Shape = {PAGE_SIZE: int, DICTIONARY_HEADER: {DICTIONARY_VALUES: int}}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group.

    `least` and `greatest` are the bytes in its statistics, or None without statistics.
    """

    physical_type: str
    encodings: Sequence[int]
    values: int
    size: int
    """In bytes, before compression."""
    range: Range
    least: bytes | None
    greatest: bytes | None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a file.

    `chunks` are by column; a nested column, which may have no value, has several. `months` are the first and
    the last day in its column `month`, by its partition or statistics; None if they are unknown.
    """

    index: int
    chunks: dict[str, list[Chunk]]
    first_row: int
    rows: int
    months: tuple[date, date] | None

    def has_none_before(self, month: date | None) -> bool:
        """Return whether no row can be of a month before `month`."""
        return self.months is not None and month is not None and self.months[0] >= month

    def is_repetitive(self, name: str) -> bool:
        """Return whether the strings in `name` repeat so much that decoding them as a dictionary pays."""
        chunks = self.chunks[name]
        return all(
            chunk.physical_type == "BYTE_ARRAY" and DELTA_STRINGS.isdisjoint(chunk.encodings)
            for chunk in chunks
        ) and bool(sum(chunk.size for chunk in chunks) < REPETITIVE_BYTES * self.rows)

    def bytes_per_row(self, name: str, file: Pieces) -> float:
        """Estimate the most bytes that a decoded value of `name` takes; `file` holds the chunk."""
        chunks = self.chunks[name]
        found = sum(chunk.size for chunk in chunks) / max(min(chunk.values for chunk in chunks), 1)
        for chunk in chunks:
            # A dictionary holds a large value once although every row may have it; the footer shows no size.
            if chunk.size * chunk.values > DICTIONARY_READ_BYTES:
                start, end = chunk.range
                file.seek(start)
                size, values = dictionary_size(bytes(file.read(min(end - start, PAGE_HEADER_BYTES))))
                found = max(found, size / max(values, 1))
        return found

    def bounds(self, name: str) -> tuple[bytes | None, bytes | None]:
        """Return the least and the greatest string in `name` by its statistics, or None twice."""
        chunks = self.chunks[name]
        if any(None in {one.least, one.greatest} for one in chunks):
            return None, None
        return min(one.least or b"" for one in chunks), max(one.greatest or b"" for one in chunks)


class Footer:
    """The footer of one file.

    `metadata` is Arrow's. `names` maps each expected column that is present to its name in the file.
    `ignored` are the other columns. `unreadable` has the type, in words, of each column whose type cannot be
    read; `must_be_empty` are those of them whose values must be checked, because their type is not null.
    `stamps` has the type, with its zone, of each date that is a timestamp. `groups` are the row groups that
    have rows. `tail` is the data just before the footer that was read with it. Months in UTC are dates in
    `zone`.
    """

    def __init__(self, file: SourceFile, content: bytes, tail: bytes, zone: str) -> None:
        # Arrow reads the footer alone, so that it reports what is wrong there. The schema that Arrow writes
        # into its files is hidden, because it would choose the types of strings, and choose slower ones.
        foreign = pa.BufferReader(MAGIC + content.replace(ARROW_SCHEMA, HIDDEN_SCHEMA))
        self.metadata: pq.FileMetaData = pq.read_metadata(foreign)
        schema: pa.Schema = self.metadata.schema.to_arrow_schema()
        self.names = find_columns(file.path, file.key, schema, partitioned=file.month is not None)
        self.ignored = sorted(set(schema.names) - {*self.names.values()})
        kinds = {name: schema.field(found).type for name, found in self.names.items()}
        self.unreadable = {name: str(kind) for name, kind in kinds.items() if not EXPECTED[name][1](kind)}
        arrow = (self.metadata.metadata or {}).get(HIDDEN_SCHEMA)
        written = {field.name: field for field in (*schema, *(_decoded(arrow) if arrow else ()))}
        self.must_be_empty = sorted(name for name in self.unreadable if not pa.types.is_null(kinds[name]))
        self.size, self.length = file.size, len(content)
        self._zone = zone
        self._tail = (self.size - len(content) - len(tail), tail)
        self._partition = file.month
        columns = [self.metadata.schema.column(index) for index in range(self.metadata.num_columns)]
        paths = {index: column.path for index, column in enumerate(columns)}
        self._leaves = {
            name: {index: columns[index].physical_type for index in _leaves(paths, own)}
            for name, own in self.names.items()
        }
        self.stamps = {}
        for name, kind in kinds.items():
            if name in DATES and pa.types.is_timestamp(kind):
                # Parquet knows UTC or no zone; the schema that Arrow writes may name another one.
                own_zone = kind.tz and (getattr(written[self.names[name]].type, "tz", None) or kind.tz)
                is_int96 = "INT96" in self._leaves[name].values()
                unit, own_zone = ("us", "UTC") if is_int96 else (kind.unit, own_zone)
                self.stamps[name] = pa.timestamp(unit, own_zone)
        self.groups = tuple(self._row_groups(content[:-TAIL]))

    def read(self, source: Source, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Return the bytes of these ranges (sorted, without overlaps); those in `tail` are not read again."""
        first, tail = self._tail
        missing = [(start, min(end, first)) for start, end in ranges if start < first]
        fetched = iter(source.read(file, missing) if missing else ())
        parts: list[Bytes] = []
        for start, end in ranges:
            part = next(fetched) if start < first else b""
            parts.append(part if end <= first else bytes(part) + tail[max(start - first, 0) : end - first])
        return parts

    def _row_groups(self, thrift: bytes) -> Iterator[RowGroup]:
        """Yield the row groups that have rows, in order."""
        found, _ = read_struct(thrift, 0, FILE)
        first_row = 0
        for place, group in enumerate(found[ROW_GROUPS]):
            rows, columns = group[NUM_ROWS], group[COLUMNS]
            if not 0 <= rows <= MAX_FILE_ROWS - first_row or len(columns) != self.metadata.num_columns:
                raise ValueError("the footer contradicts itself about its row groups")
            if rows:
                chunks = {
                    name: [_chunk(name, columns[index][META_DATA], kind) for index, kind in leaves.items()]
                    for name, leaves in self._leaves.items()
                }
                yield RowGroup(place, chunks, first_row, rows, self._months(chunks))
            first_row += rows

    def _months(self, chunks: dict[str, list[Chunk]]) -> tuple[date, date] | None:
        """Return the first and the last day in `month` by the partition or the statistics, or None."""
        if self._partition or "month" in self.unreadable:
            return (self._partition, self._partition) if self._partition else None
        [chunk] = chunks["month"]
        if chunk.least is None or chunk.greatest is None or chunk.physical_type not in {"INT32", "INT64"}:
            return None  # Of INT96, writers order the bytes in different ways.
        found = [int.from_bytes(value, "little", signed=True) for value in (chunk.least, chunk.greatest)]
        try:
            if chunk.physical_type == "INT32":
                least, greatest = (EPOCH + timedelta(days) for days in found)
            else:
                moments = pa.array(found, pa.int64()).cast(self.stamps["month"])
                least, greatest = dates(moments, self._zone).to_pylist()
        except (ArithmeticError, ValueError):  # outside Python's calendar
            return None
        return least, greatest


def read_footer(source: Source, file: SourceFile, zone: str, longest: int) -> Footer:
    """Read the footer of `file` with one request, or two when it is long; raises whatever Arrow does.

    `longest`: the bytes of the longest footer of the source so far, or 0.
    """
    size = file.size
    if size < TAIL:
        raise ValueError(f"it has only {size} bytes")
    # A footer grows with the file. Data that is read before a short footer is kept, and not read again.
    least, most = FIRST_READ
    first = max(0, size - (longest + FOOTER_MARGIN if longest else min(max(size // 2**12, least), most)))
    end = bytes(source.read(file, [(first, size)])[0])
    footer = int.from_bytes(end[-TAIL : -len(MAGIC)], "little") + TAIL
    if len(end) < footer <= size and end.endswith(MAGIC):
        end = bytes(source.read(file, [(size - footer, first)])[0]) + end
    return Footer(file, end[-footer:], end[:-footer], zone)


def _decoded(schema: bytes) -> pa.Schema:
    try:
        return pa.ipc.read_schema(pa.BufferReader(b64decode(schema)))
    except (OSError, ValueError):
        raise ValueError(f"its metadata {ARROW_SCHEMA.decode()} cannot be decoded") from None


def _leaves(paths: dict[int, str], own: str) -> list[int]:
    """Return the indices of the leaf columns of the column `own`: several if it is nested."""
    whole = [index for index, path in paths.items() if path == own]
    return whole or [index for index, path in paths.items() if path.startswith(f"{own}.")]


def dictionary_size(page_header: bytes) -> tuple[int, int]:
    """Return the uncompressed size and the number of values of a dictionary page from its header.

    Both are 0 for another kind of page, or if the header is longer than `page_header`.
    """
    try:
        found, _ = read_struct(page_header, 0, PAGE_HEADER)
    except (IndexError, ValueError):
        return 0, 0
    values = found.get(DICTIONARY_HEADER, {}).get(DICTIONARY_VALUES, 0)
    return (found.get(PAGE_SIZE, 0), values) if values > 0 else (0, 0)


def _chunk(name: str, data: dict[int, Any], physical_type: str) -> Chunk:
    """Return a chunk from its metadata; raise `ValueError` if it contradicts the schema or itself."""
    if TYPE_NAMES[data[TYPE]] != physical_type:
        raise ValueError(f"the footer contradicts itself about the type of {name}")
    statistics = data.get(STATISTICS, {})
    # The deprecated fields are ordered well for numbers, but not for strings.
    width = {"INT32": 4, "INT64": 8}.get(physical_type)
    old = (None, None) if width is None else (statistics.get(MIN), statistics.get(MAX))
    least, greatest = statistics.get(MIN_VALUE, old[0]), statistics.get(MAX_VALUE, old[1])
    if width is not None and {len(value) for value in (least, greatest) if value is not None} - {width}:
        raise ValueError(f"the footer contradicts itself about the statistics of {name}")
    start = data[DATA_PAGE_OFFSET]
    if 0 < data.get(DICTIONARY_PAGE_OFFSET, 0) < start:
        start = data[DICTIONARY_PAGE_OFFSET]
    if start < 0 or data[COMPRESSED_SIZE] < 0:
        raise ValueError(f"the footer contradicts itself about the place of {name}")
    span = (start, start + data[COMPRESSED_SIZE])
    values, size = data[NUM_VALUES], data[UNCOMPRESSED_SIZE]
    return Chunk(physical_type, data[ENCODINGS], values, size, span, least, greatest)
