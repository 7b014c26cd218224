"""What a Parquet file says of itself at its end: its row groups, where their columns lie, what they hold."""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from core.parquet.columns import MONTH, dates, find_columns, is_readable
from core.parquet.thrift import dictionary_size, statistics_lengths
from core.storage import Source, SourceFile
from core.storage.source import Bytes, Range
from core.window import may_be_meant

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
INT96 = "INT96"
INT96_UNIT = "us"
"""In nanoseconds, Arrow's default, its dates after 2262 would wrap around."""
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
        """Whether a row of `month`, or of a day that may be meant as it, can be in it."""
        if self.months is None:
            return True
        least, greatest = self.months
        return least <= month.toordinal() <= greatest or any(
            may_be_meant(date.fromordinal(day), month) for day in self.months
        )

    def is_since(self, month: date | None) -> bool:
        """Whether none of its rows is of a month before `month`, as far as the statistics tell."""
        return self.months is not None and month is not None and self.months[0] >= month.toordinal()

    def is_only(self, month: date) -> bool:
        """Whether all of its rows are of `month`, as far as the statistics tell."""
        return self.months == (month.toordinal(), month.toordinal())


class Footer:
    """The footer of one file.

    `metadata` is as Arrow read it from the bytes `thrift`; `tail` is the data that came along with it, from
    just before the footer; `zone` is the time zone in which months in UTC are dates. `names` has the columns
    that are there, with the names that they have in the file. Those of `unreadable` have a type that can't
    be read, those of `untyped` among them the type null.
    """

    def __init__(
        self, file: SourceFile, parquet: pq.ParquetFile, thrift: bytes, tail: bytes, zone: str
    ) -> None:
        self.size = file.stored.size
        self.metadata: pq.FileMetaData = parquet.metadata
        schema: pa.Schema = parquet.schema_arrow
        self.names = find_columns(file.path, file.stored.key, schema, partitioned=file.month is not None)
        kinds = {name: schema.field(found).type for name, found in self.names.items()}
        self.unreadable = frozenset(name for name, kind in kinds.items() if not is_readable(name, kind))
        self.untyped = frozenset(name for name, kind in kinds.items() if pa.types.is_null(kind))
        paths = [self.metadata.schema.column(index).path for index in range(self.metadata.num_columns)]
        self._leaves = {name: _leaves(paths, found) for name, found in self.names.items()}
        physical = self.metadata.schema.column
        self.int96 = frozenset(
            name for name, (leaf, *_) in self._leaves.items() if physical(leaf).physical_type == INT96
        )
        self._tail = (self.size - TAIL - self.metadata.serialized_size - len(tail), tail)
        self._checked: set[int] = set()
        self.groups = tuple(_together(self._row_groups(kinds.get(MONTH), thrift, zone)))

    def chunks(self, group: RowGroup, name: str) -> list[Range]:
        """Where the column `name` of a row group lies."""
        return [_range(chunk) for chunk in self._chunks(group, name)]

    def is_repetitive(self, group: RowGroup, name: str) -> bool:
        """Whether the strings in `name` repeat so much that looking at each once pays."""
        leaf = self.metadata.schema.column(self._leaves[name][0])
        if name in self.unreadable or leaf.physical_type != "BYTE_ARRAY":
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
        if name in self.unreadable:
            return values
        column = self.metadata.schema.column(self._leaves[name][0])
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
            _check_chunks(self.metadata, self.size, [*group.indices], [*self.names.values()])
            self._checked.add(group.indices.start)
        groups = [self.metadata.row_group(index) for index in group.indices]
        return [one.column(leaf) for one in groups for leaf in self._leaves[name]]

    def _row_groups(self, kind: pa.DataType | None, thrift: bytes, zone: str) -> Iterator[RowGroup]:
        leaf = None if kind is None or MONTH in self.unreadable else self._leaves[MONTH][0]
        if leaf is not None:
            every = [*range(self.metadata.num_row_groups)]
            _check_chunks(self.metadata, self.size, every, [self.names[MONTH]])
            _check_statistics(thrift, self.metadata.schema.column(leaf), leaf)
        first_row = 0
        for index in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(index)
            months = None
            if leaf is not None:
                months = _months(self.metadata.schema.column(leaf), group.column(leaf), kind, zone)
            if group.num_rows:
                yield RowGroup(
                    range(index, index + 1), first_row, group.num_rows, group.total_byte_size, months
                )
            first_row += group.num_rows


def _leaves(paths: Sequence[str], name: str) -> list[int]:
    """Find the places in the file of the column `name`: several, where it is nested."""
    whole = [place for place, path in enumerate(paths) if path == name]
    return whole or [place for place, path in enumerate(paths) if path.startswith(f"{name}.")]


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


def read_footer(source: Source, file: SourceFile, zone: str) -> Footer:
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
    parquet = pq.ParquetFile(pa.BufferReader(MAGIC + end[-footer:]), coerce_int96_timestamp_unit=INT96_UNIT)
    tail = end[: max(0, len(end) - footer)]
    return Footer(file, parquet, end[-footer:-TAIL], tail, zone)


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


def _months(
    column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData, kind: pa.DataType, zone: str
) -> tuple[int, int] | None:
    """Find the days, as ordinals, between which the statistics say that all months are, or None."""
    found = _least_and_greatest(column, chunk)
    if found is None or not all(isinstance(value, date) for value in found):
        return None
    with suppress(ArithmeticError, ValueError, pa.ArrowException):
        values = pa.array(found, pa.date32())
        if pa.types.is_timestamp(kind):
            values = pa.array(found, pa.timestamp("us", kind.tz and "UTC")).cast(pa.timestamp("us", kind.tz))
        least, greatest = dates(values, zone).to_pylist()
        return least.toordinal(), greatest.toordinal()
    return None


def _least_and_greatest(
    column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData
) -> tuple[object, object] | None:
    if chunk.physical_type != column.physical_type:
        # `_check_chunks` does not see this one, and asking for the statistics would end the process too.
        raise ValueError(f"the footer contradicts itself about the type of {column.path}")
    if column.physical_type == INT96:
        return None  # Writers order their bytes in different ways.
    # Values may lie outside Python's calendar, be no UTF-8, or of a type whose statistics Arrow doesn't know.
    with suppress(ArithmeticError, NotImplementedError, ValueError, pa.ArrowException):
        statistics = chunk.statistics
        if statistics is not None and statistics.has_min_max:
            return statistics.min, statistics.max
    return None
