"""What a Parquet file says of itself at its end: its row groups, where their columns lie, what they hold."""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from core.parquet.columns import MONTH
from core.parquet.thrift import dictionary_size, statistics_lengths
from core.storage import Source, SourceFile
from core.storage.source import Bytes, Range

MAGIC = b"PAR1"
TAIL = 8
"""The length of the footer, and the magic."""
FIRST_READ = (8 * 2**10, 64 * 2**10)
"""The least and the most that is read of the end before it is known how long the footer is."""
TOGETHER_ROWS = 1_024
TOGETHER_BYTES = 2**20
"""How much small row groups that are read as one may hold together."""
WORTH_A_LOOK = 16 * 2**20
"""Bytes that the values of a chunk may take, at the very most, before it matters what they really take."""
PAGE_HEADER = 256
"""Bytes in which the header of a page surely ends, when it is that of a dictionary."""
FIXED_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value of each physical type that has one width."""
REPETITIVE_BYTES = 4
"""Less than so much a value, before compression, and the chunk must be mostly a dictionary's indices."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A part of a file, and the months that it may hold by its statistics; None when they say nothing.

    `indices` are those of the file's own row groups: one, or small neighbours that are read as one.
    """

    indices: range
    first_row: int
    rows: int
    size: int
    """In bytes, before compression."""
    months: tuple[int, int] | None

    def joined(self, after: "RowGroup") -> "RowGroup | None":
        """Make one of this and the one after it, if that is small and holds the same months."""
        rows, size = self.rows + after.rows, self.size + after.size
        apart = self.indices.stop != after.indices.start or self.months != after.months
        if apart or rows > TOGETHER_ROWS or size > TOGETHER_BYTES:
            return None
        return RowGroup(
            range(self.indices.start, after.indices.stop), self.first_row, rows, size, self.months
        )

    def may_hold(self, month: date) -> bool:
        """Whether a row of `month` can be in it, give or take a day: statistics are in UTC, months local."""
        return self.months is None or self.months[0] - 1 <= month.toordinal() <= self.months[1] + 1

    def is_since(self, month: date | None) -> bool:
        """Whether none of its rows is of a month before `month`, as far as the statistics tell."""
        return self.months is not None and month is not None and self.months[0] >= month.toordinal()

    def is_only(self, month: date) -> bool:
        """Whether all of its rows are of `month`, as far as the statistics tell."""
        return self.months == (month.toordinal(), month.toordinal())


class Footer:
    """The footer of one file.

    `size` is the file's, in bytes; `metadata` as Arrow read it from the bytes `thrift`; `tail` the data that
    came along with it, from just before the footer; `month` that of the file's partition, if there is one.
    """

    def __init__(
        self, size: int, parquet: pq.ParquetFile, thrift: bytes, tail: bytes, month: date | None
    ) -> None:
        self.size = size
        self.metadata: pq.FileMetaData = parquet.metadata
        self.schema: pa.Schema = parquet.schema_arrow
        columns = range(self.metadata.num_columns)
        self.columns = {self.metadata.schema.column(index).path: index for index in columns}
        self._tail = (size - TAIL - self.metadata.serialized_size - len(tail), tail)
        self._checked: set[int] = set()
        self.groups = tuple(_together(self._row_groups(month, thrift)))

    def chunks(self, group: RowGroup, name: str) -> list[Range]:
        """Where the column `name` of a row group lies."""
        return [_range(chunk) for chunk in self._chunks(group, name)]

    def is_repetitive(self, group: RowGroup, name: str) -> bool:
        """Whether the strings in `name` repeat so much that looking at each once pays."""
        if self.metadata.schema.column(self.columns[name]).physical_type != "BYTE_ARRAY":
            return False
        chunks = self._chunks(group, name)
        # Strings stored as differences are small too, but Arrow (26.0) makes no dictionary of them.
        if any(encoding.startswith("DELTA_") for chunk in chunks for encoding in chunk.encodings):
            return False
        return bool(sum(chunk.total_uncompressed_size for chunk in chunks) < REPETITIVE_BYTES * group.rows)

    def bytes_a_row(self, group: RowGroup, name: str, file: io.RawIOBase) -> float:
        """About how many bytes a decoded value of `name` takes at most; `file` holds the chunk's bytes."""
        found: list[float] = []
        for chunk in self._chunks(group, name):
            found.append(chunk.total_uncompressed_size / max(chunk.num_values, 1))
            # The footer alone does not tell: a dictionary's one value of a megabyte may be that of every row.
            if chunk.total_uncompressed_size * chunk.num_values > WORTH_A_LOOK:
                start, end = _range(chunk)
                file.seek(start)
                size, values = dictionary_size(bytes(file.read(min(end - start, PAGE_HEADER)) or b""))
                found.append(size / max(values, 1))
        return max(found)

    def between(self, group: RowGroup, name: str, values: Sequence[str]) -> Sequence[str]:
        """Which of `values`, in order, lie between what the statistics of `name` call least and greatest."""
        column = self.metadata.schema.column(self.columns[name])
        least, greatest = [], []
        for chunk in self._chunks(group, name):
            match _least_and_greatest(column, chunk):
                case (str(first), str(last)):
                    least.append(first)
                    greatest.append(last)
                case _:
                    return values
        return values[bisect_left(values, min(least)) : bisect_right(values, max(greatest))]

    def read(self, source: Source, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges, in order and apart from each other, but not what came with the footer."""
        first, tail = self._tail
        missing = [(start, min(end, first)) for start, end in ranges if start < first]
        parts: list[Bytes] = source.read(file, missing) if missing else []
        if len(parts) < len(ranges) or ranges[-1][1] > first:
            parts += [b""] * (len(ranges) - len(parts))
            for index, (start, end) in enumerate(ranges):
                if end > first:
                    parts[index] = bytes(parts[index]) + tail[max(start - first, 0) : end - first]
        return parts

    def _chunks(self, group: RowGroup, name: str) -> list[pq.ColumnChunkMetaData]:
        if group.indices.start not in self._checked:
            _check_chunks(self.metadata, self.size, [*group.indices], [*self.columns])
            self._checked.add(group.indices.start)
        column = self.columns[name]
        return [self.metadata.row_group(index).column(column) for index in group.indices]

    def _row_groups(self, partition: date | None, thrift: bytes) -> Iterator[RowGroup]:
        column = self.columns.get(MONTH) if partition is None else None
        if column is not None:
            _check_chunks(self.metadata, self.size, [*range(self.metadata.num_row_groups)], [MONTH])
            _check_statistics(thrift, self.metadata.schema.column(column), column)
        first_row = 0
        for index in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(index)
            months = (
                None if column is None else _months(self.metadata.schema.column(column), group.column(column))
            )
            if group.num_rows:
                yield RowGroup(
                    range(index, index + 1), first_row, group.num_rows, group.total_byte_size, months
                )
            first_row += group.num_rows


def _together(groups: Iterable[RowGroup]) -> Iterator[RowGroup]:
    """Make one of small neighbours that hold the same months.

    Each costs a few milliseconds, whatever it holds, and some writers make one of a few rows at a time.
    """
    last: RowGroup | None = None
    for group in groups:
        joined = last.joined(group) if last else None
        if last and not joined:
            yield last
        last = joined or group
    if last:
        yield last


def read_footer(source: Source, file: SourceFile) -> Footer:
    """Read the footer of `file` with one request, or two when it is long; raises whatever Arrow does."""
    size = file.stored.size
    # A footer grows with the file; what is read too much of a small one is kept, and not read again.
    least, most = FIRST_READ
    first = max(0, size - min(max(size // 2**12, least), most))
    end = bytes(source.read(file, [(first, size)])[0])
    footer = int.from_bytes(end[-TAIL : -len(MAGIC)], "little") + TAIL
    if len(end) < footer <= size and end.endswith(MAGIC):
        end = bytes(source.read(file, [(size - footer, first)])[0]) + end
    # Arrow sees no more than the footer, and says what is wrong with it.
    parquet = pq.ParquetFile(pa.BufferReader(MAGIC + end[-footer:]))
    tail = end[: max(0, len(end) - footer)]
    return Footer(size, parquet, end[-footer:-TAIL], tail, file.month)


class _WouldReadError(Exception):
    """Arrow had no objection to the footer and went on to ask for data."""


class _Nothing(io.RawIOBase):
    """A file of `size` bytes that can't be read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._size if whence else offset

    def read(self, _size: int | None = -1, /) -> bytes:
        # Arrow (26.0) keeps the text of the exception, a quarter of a kilobyte, for ever. To give no bytes
        # instead would be worse: it reads beyond them.
        raise _WouldReadError


def _range(chunk: pq.ColumnChunkMetaData) -> Range:
    """Where a column chunk lies."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    return start, start + chunk.total_compressed_size


def _check_chunks(metadata: pq.FileMetaData, size: int, groups: list[int], columns: list[str]) -> None:
    """Raise whatever Arrow has against what the footer says of these column chunks; reads nothing.

    For a footer that contradicts itself, `RowGroupMetaData.column` of pyarrow 26.0 ends the whole process,
    because no one catches what its C++ throws. The reader meets the same chunks first when it plans what to
    read, and raises properly.
    """
    with _Nothing(size) as nothing:
        parquet = pq.ParquetFile(nothing, metadata=metadata, pre_buffer=True)
        try:
            next(parquet.iter_batches(row_groups=groups, columns=columns), None)
        except _WouldReadError as error:
            # Arrow keeps it with the reader, which this frame keeps: with its callers' batches, for ever.
            error.__traceback__ = None


def _check_statistics(footer: bytes, column: pq.ColumnSchema, index: int) -> None:
    """Raise `ValueError` for statistics that pyarrow 26.0 does not survive: see `core.parquet.thrift`."""
    width = FIXED_WIDTHS.get(column.physical_type)
    if width is not None and not statistics_lengths(footer, index) <= {width}:
        raise ValueError(f"the footer contradicts itself about the statistics of {column.path}")


def _months(column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData) -> tuple[int, int] | None:
    """Find the days, as ordinals, between which the statistics say that all months are, or None."""
    found = _least_and_greatest(column, chunk)
    if found is None:
        return None
    least, greatest = (_day(value) for value in found)
    return None if least is None or greatest is None else (least.toordinal(), greatest.toordinal())


def _least_and_greatest(
    column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData
) -> tuple[object, object] | None:
    if chunk.physical_type != column.physical_type:
        # `_check_chunks` does not see this one, and asking for the statistics would end the process too.
        raise ValueError(f"the footer contradicts itself about the type of {column.path}")
    # Values may lie outside Python's calendar, be no UTF-8, or of a type whose statistics Arrow doesn't know.
    with suppress(ArithmeticError, NotImplementedError, ValueError, pa.ArrowException):
        statistics = chunk.statistics
        if statistics is not None and statistics.has_min_max:
            return statistics.min, statistics.max
    return None


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else None
