"""The footer of a Parquet file: its row groups, the positions of their columns, and their statistics."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.sources.parquet.columns import DATES, EXPECTED, dates, find_columns
from core.sources.parquet.ranges import Pieces
from core.sources.parquet.thrift import read_struct
from core.sources.source import Range, Source, SourceFile

MAGIC = b"PAR1"
ARROW_SCHEMA = b"ARROW:schema"
"""The name of the schema that Arrow writes into its files."""
HIDDEN_SCHEMA = b"\0" + ARROW_SCHEMA[1:]
"""The name that replaces `ARROW_SCHEMA`: it has the same length, and no writer uses it."""
TAIL = 8
"""The size of the end of a file: the length of the footer, and the magic."""
FIRST_READ = (8 * 2**10, 64 * 2**10)
"""The least and the most bytes to read from the end of a file while the length of a footer is unknown.

A file of at most the least is read whole.
"""
FOOTER_MARGIN = 256
"""How many bytes a footer may be longer than the longest one so far without a second request."""
BATCH_BYTES = 64 * 2**20
"""The approximate limit on a decoded batch: with values of a megabyte, it has few rows."""
MAX_ROW_BYTES = 64 * 2**20
"""The largest average size of a row: a few kilobytes of a hostile file may decompress to gigabytes."""
DICTIONARY_READ_BYTES = 16 * 2**20
"""If the values of a chunk may take more bytes than this, its dictionary page is read for their size."""
PAGE_HEADER_BYTES = 256
"""Bytes that hold the whole header of a dictionary page."""
REPETITIVE_BYTES = 4
"""A chunk with fewer bytes per value, before compression, mostly holds the indices of a dictionary."""
MAX_FILE_ROWS = 2**40
"""The most rows of a file. Each file has this number of positions; those of 2^23 files fit into an int64."""
DELTA_STRINGS = frozenset({6, 7})
"""DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY, encodings that Arrow (26.0) cannot decode as a dictionary."""

# Fields by their names and numbers in `parquet.thrift`: of the file and its metadata, of a row group, of a
# column chunk, of its statistics (the first two are deprecated), and of the header of a page.
SCHEMA, ROW_GROUPS, KEY_VALUE_METADATA, KEY, VALUE = 2, 4, 5, 1, 2
COLUMNS, META_DATA, NUM_ROWS = 1, 3, 3
ENCODINGS, UNCOMPRESSED_SIZE, COMPRESSED_SIZE = 2, 6, 7
DATA_PAGE_OFFSET, DICTIONARY_PAGE_OFFSET, STATISTICS = 9, 11, 12
MAX, MIN, MAX_VALUE, MIN_VALUE = 1, 2, 5, 6
PAGE_SIZE, DICTIONARY_HEADER, DICTIONARY_VALUES = 2, 7, 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group.

    `size` is in bytes before compression. `bounds` are the bytes of the least and the greatest value in the
    statistics, or None.
    """

    encodings: frozenset[int]
    size: int
    range: Range
    bounds: tuple[bytes, bytes] | None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a file.

    `chunks` are by column; a nested column, which must be empty, has several. `months` are the first and the
    last day in the column `month`, by the partition or the statistics; None if they are unknown.
    """

    index: int
    chunks: dict[str, list[Chunk]]
    first_row: int
    rows: int
    months: tuple[date, date] | None

    def is_repetitive(self, name: str) -> bool:
        """Return whether the strings in `name` repeat so much that a dictionary is faster to decode."""
        chunk = self.chunks[name][0]
        return chunk.size < REPETITIVE_BYTES * self.rows and DELTA_STRINGS.isdisjoint(chunk.encodings)

    def rows_at_once(self, names: Iterable[str], file: Pieces, most: int) -> int:
        """Return how many rows of these columns to decode at once, at most `most`; `file` holds their chunks.

        Raises `ArrowInvalid` for rows that are too large.
        """
        row_bytes = 0.0
        for chunk in chain.from_iterable(self.chunks[name] for name in names):
            value_bytes = chunk.size / self.rows
            # A dictionary holds a large value only once, but every row may have it. Its page shows the size.
            if chunk.size * self.rows > DICTIONARY_READ_BYTES:
                start, end = chunk.range
                header = file.at(start, min(end, start + PAGE_HEADER_BYTES))
                value_bytes = max(value_bytes, dictionary_value(bytes(header)))
            row_bytes += value_bytes
        if row_bytes > MAX_ROW_BYTES:
            raise pa.ArrowInvalid(f"its rows have {row_bytes:,.0f} bytes each, more than {MAX_ROW_BYTES:,}")
        return max(1, min(most, int(BATCH_BYTES // max(row_bytes, 1))))


class FileColumns:
    """The columns of the specification in files of one schema."""

    def __init__(self, file: SourceFile, parquet: pq.ParquetSchema, content: bytes) -> None:
        arrow = parquet.to_arrow_schema()
        found = find_columns(file.key, arrow, partitioned=file.month is not None)
        kinds = {name: arrow.field(own).type for name, own in found.items()}
        self.names = {name: own for name, own in found.items() if not pa.types.is_null(kinds[name])}
        """The name in the file of each column that may have values."""
        self.ignored = set(arrow.names) - {*found.values()}
        """The columns that are not read."""
        self.unreadable = {
            name: f"column {name} must be {expected}, but it is {kinds[name]}: convert it in the export"
            for name, (expected, checks, _) in EXPECTED.items()
            if name in self.names and not any(check(kinds[name]) for check in checks)
        }
        """The columns whose type cannot be read: they must be empty, or the error has this text."""
        columns = [parquet.column(index) for index in range(len(parquet))]
        self.chunk_count = len(columns)
        """How many column chunks a row group has."""
        # A nested column has several leaves. A column `month.x` would match too, but sorts after `month`.
        paths = sorted((f"{column.path}.", index) for index, column in enumerate(columns))
        self.leaves = {
            name: [index for path, index in paths if path.startswith(f"{own}.")]
            for name, own in found.items()
        }
        """The indices of the column chunks of each column."""
        stamps = {name: kinds[name] for name in DATES if pa.types.is_timestamp(kinds.get(name, pa.null()))}
        if any(kind.tz for kind in stamps.values()):
            # Parquet knows UTC or no zone; the schema that Arrow writes may name another one. It is not read
            # for other columns, because it may have types that Arrow lacks (Int128 of Polars).
            as_written = pq.read_schema(pa.BufferReader(MAGIC + content))
            stamps = {name: as_written.field(found[name]).type for name in stamps}
        int96 = {name for name in stamps if columns[self.leaves[name][0]].physical_type == "INT96"}
        self.stamps = stamps | dict.fromkeys(int96, pa.timestamp("us", "UTC"))
        """The type, with its zone, of each column of dates that is a timestamp."""
        self.bounds_type: pa.DataType | None = self.stamps.get("month", pa.date32())
        """The type of the statistics of `month`; None if they cannot be used."""
        # Writers order the bytes of INT96 in different ways.
        if "month" in int96 | self.unreadable.keys():
            self.bounds_type = None


class Footer:
    """The footer of one file.

    `columns` are those of `like`, another footer of the source, if it has the same schema. `names` maps each
    column that is not empty to its name in the file. `groups` are the row groups with rows. `tail` is the
    data before the footer that was read with it: its position and bytes. Months in UTC are dates in `zone`.
    """

    columns: FileColumns

    def __init__(
        self, file: SourceFile, content: bytes, tail: bytes, zone: str, like: "Footer | None"
    ) -> None:
        self.size, self.length = file.size, len(content)
        self.tail = (self.size - self.length - len(tail), tail)
        self._content = content
        self._zone = zone
        self._partition = file.month
        found, _ = read_struct(content[:-TAIL], 0)
        pairs = {pair[KEY]: pair.get(VALUE) for pair in found.get(KEY_VALUE_METADATA, ())}
        self.schema = found[SCHEMA], pairs.get(ARROW_SCHEMA), file.month is not None
        if like and like.schema == self.schema:
            self.columns = like.columns
        else:
            self.columns = FileColumns(file, self.metadata.schema, content)
        self.names = dict(self.columns.names)
        self.groups = tuple(self._row_groups(found[ROW_GROUPS]))

    @cached_property
    def metadata(self) -> pq.FileMetaData:
        """Arrow's metadata of the file; raises its errors.

        The schema that Arrow writes into its files is hidden, because Arrow would decode strings as the types
        in it, which may be slower.
        """
        hidden = self._content.replace(ARROW_SCHEMA, HIDDEN_SCHEMA)
        return pq.read_metadata(pa.BufferReader(MAGIC + hidden))

    def _row_groups(self, groups: list[dict[int, Any]]) -> Iterator[RowGroup]:
        """Yield the row groups that have rows, in order."""
        first_row = 0
        for place, group in enumerate(groups):
            rows, columns = group[NUM_ROWS], group[COLUMNS]
            if not 0 <= rows <= MAX_FILE_ROWS - first_row or len(columns) != self.columns.chunk_count:
                raise ValueError("the footer contradicts itself about its row groups")
            if rows:
                chunks = {
                    name: [self._chunk(name, columns[index][META_DATA]) for index in leaves]
                    for name, leaves in self.columns.leaves.items()
                }
                yield RowGroup(place, chunks, first_row, rows, self._months(chunks))
            first_row += rows

    def _chunk(self, name: str, data: dict[int, Any]) -> Chunk:
        start = data[DATA_PAGE_OFFSET]
        if 0 < data.get(DICTIONARY_PAGE_OFFSET, 0) < start:
            start = data[DICTIONARY_PAGE_OFFSET]
        end = start + data[COMPRESSED_SIZE]
        if not 0 <= start <= end <= self.size - self.length:
            raise ValueError(f"the footer contradicts itself about the place of {name}")
        statistics = data.get(STATISTICS, {})
        if name == "month":
            # The deprecated statistics are correct for numbers, but not for strings.
            statistics = {MIN_VALUE: statistics.get(MIN), MAX_VALUE: statistics.get(MAX)} | statistics
        least, greatest = statistics.get(MIN_VALUE), statistics.get(MAX_VALUE)
        bounds = (least, greatest) if isinstance(least, bytes) and isinstance(greatest, bytes) else None
        return Chunk(frozenset(data[ENCODINGS]), max(data[UNCOMPRESSED_SIZE], 0), (start, end), bounds)

    def _months(self, chunks: dict[str, list[Chunk]]) -> tuple[date, date] | None:
        """Return the first and the last day in `month` by the partition or the statistics, or None."""
        if self._partition:
            return self._partition, self._partition
        bounds, kind = chunks["month"][0].bounds, self.columns.bounds_type
        return None if bounds is None or kind is None else _days(kind, bounds, self._zone)


def read_footer(source: Source, file: SourceFile, zone: str, like: Footer | None) -> Footer:
    """Read the footer of `file` with one request, or two when it is long; raises whatever Arrow does.

    `like`: the longest footer of the source so far, if there is one.
    """
    size = file.size
    if size < TAIL:
        raise ValueError(f"it has only {size} bytes")
    # A footer grows with the file. If it is short, the data read before it is kept, and not read again.
    least, most = FIRST_READ
    guess = like.length + FOOTER_MARGIN if like else min(max(size // 2**12, least), most)
    first = size - guess if size > max(guess, least) else 0
    end = bytes(source.read(file, [(first, size)])[0])
    footer = int.from_bytes(end[-TAIL : -len(MAGIC)], "little") + TAIL
    if footer > size or not end.endswith(MAGIC):
        raise ValueError("it does not end with a footer, or the footer is encrypted")
    if footer > len(end):
        end = bytes(source.read(file, [(size - footer, first)])[0]) + end
    return Footer(file, end[-footer:], end[:-footer], zone, like)


@lru_cache  # row groups of the same month have the same bounds
def _days(kind: pa.DataType, bounds: tuple[bytes, bytes], zone: str) -> tuple[date, date] | None:
    if {8 * len(bound) for bound in bounds} != {kind.bit_width}:
        raise ValueError("the footer contradicts itself about the statistics of month")
    days = pa.Array.from_buffers(kind, 2, [None, pa.py_buffer(b"".join(bounds))])
    try:
        least, greatest = dates(days, zone).to_pylist()
    except (ArithmeticError, ValueError):  # outside Python's calendar
        return None
    return least, greatest


def dictionary_value(page_header: bytes) -> float:
    """Return the bytes of an average value of a dictionary page, from its header.

    It is 0 for another kind of page, or if the header is longer than `page_header`.
    """
    try:
        found, _ = read_struct(page_header, 0)
    except (LookupError, ValueError):
        return 0
    values = found.get(DICTIONARY_HEADER, {}).get(DICTIONARY_VALUES, 0)
    return float(found.get(PAGE_SIZE, 0) / values) if values > 0 else 0
