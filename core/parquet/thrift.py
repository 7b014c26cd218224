"""Just enough of Thrift's compact protocol to see what pyarrow does not tell of a Parquet file.

How long the statistics in the footer are: pyarrow 26.0 ends the whole process when it is asked for statistics
whose least or greatest value has too few bytes for its type, as no one catches what its C++ throws. The walk
goes through each footer once, from position to position, as it is in the way of every run. And how large a
dictionary is, which may unpack to gigabytes of rows. Field numbers are those of `parquet.thrift` in the
format's own repository.
"""

from collections.abc import Callable

ROW_GROUPS, COLUMNS, META_DATA, STATISTICS = 4, 1, 3, 12
LEAST_AND_GREATEST = (1, 2, 5, 6)
UNCOMPRESSED_SIZE, DICTIONARY_HEADER, DICTIONARY_VALUES = 2, 7, 1

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_NUMBERS = (4, 5, 6)  # Of 16, 32 and 64 bits, each as long as it needs.

Step = Callable[[int], int]
"""Takes where a value begins, and gives where it ends."""


def statistics_lengths(footer: bytes, column: int) -> set[int]:
    """Collect the lengths in bytes of the least and greatest values of a column, over all row groups.

    `footer` is a `FileMetaData`, `column` the place of the column in the file. Raises `IndexError` for bytes
    that end too early.
    """
    lengths: set[int] = set()

    def value(at: int) -> int:
        length, at = _varint(footer, at)
        lengths.add(length)
        return at + length

    def statistics(at: int) -> int:
        return _struct(footer, at, LEAST_AND_GREATEST, value)

    def meta_data(at: int) -> int:
        return _struct(footer, at, (STATISTICS,), statistics)

    def columns(at: int) -> int:
        size, _, at = _list_header(footer, at)
        for number in range(size):
            if number == column:
                at = _struct(footer, at, (META_DATA,), meta_data)
            else:
                at = _skip(footer, at, _STRUCT)
        return at

    def row_groups(at: int) -> int:
        size, _, at = _list_header(footer, at)
        for _ in range(size):
            at = _struct(footer, at, (COLUMNS,), columns)
        return at

    _struct(footer, 0, (ROW_GROUPS,), row_groups)
    return lengths


def dictionary_size(page_header: bytes) -> tuple[int, int]:
    """How many bytes, before compression, the dictionary takes whose page begins so, and of how many values.

    Both are 0 for a page of another kind, also one whose header, with long statistics, ends after the bytes.
    """
    size = values = 0

    def bytes_of_page(at: int) -> int:
        nonlocal size
        size, at = _zigzag(page_header, at)
        return at

    def count(at: int) -> int:
        nonlocal values
        values, at = _zigzag(page_header, at)
        return at

    def dictionary(at: int) -> int:
        return _struct(page_header, at, (DICTIONARY_VALUES,), count)

    try:
        _struct(page_header, 0, (UNCOMPRESSED_SIZE,), bytes_of_page)
        _struct(page_header, 0, (DICTIONARY_HEADER,), dictionary)
    except IndexError:
        return 0, 0
    return (size, values) if values > 0 else (0, 0)


def _struct(data: bytes, at: int, wanted: tuple[int, ...], step: Step) -> int:
    """Walk through the struct at `at`, taking `step` over the fields `wanted`; gives where it ends."""
    number = 0
    while header := data[at]:
        at += 1
        if header >> 4:
            number += header >> 4
        else:
            number, at = _zigzag(data, at)
        at = step(at) if number in wanted else _skip(data, at, header & 0xF)
    return at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; gives it and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one has no high bit
            return value, at
        shift += 7


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    """Read a number that may be negative; gives it and where it ends."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Read how many elements follow, of which kind, and where."""
    size, kind = data[at] >> 4, data[at] & 0xF
    if size == 15:  # noqa: PLR2004  # so many or more
        size, at = _varint(data, at + 1)
        return size, kind, at
    return size, kind, at + 1


def _skip(data: bytes, at: int, kind: int) -> int:
    """Give where the value that begins at `at` ends."""
    if kind in _NUMBERS:
        while data[at] > 0x7F:  # noqa: PLR2004
            at += 1
        return at + 1
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == _STRUCT:
        while header := data[at]:
            at += 1
            if header < 0x10:  # noqa: PLR2004  # the field's number stands for itself
                at = _skip(data, at, _NUMBERS[0])
            field = header & 0xF
            if field in _NUMBERS:  # As below, without the cost of a call: most fields are numbers.
                while data[at] > 0x7F:  # noqa: PLR2004
                    at += 1
                at += 1
            else:
                at = _skip(data, at, field)
        return at + 1
    return _skip_others(data, at, kind)


def _skip_others(data: bytes, at: int, kind: int) -> int:
    if kind in {_TRUE, _FALSE}:
        return at
    if kind in {_BYTE, _DOUBLE}:
        return at + (1 if kind == _BYTE else 8)
    if kind in {_LIST, _SET}:
        size, inner, at = _list_header(data, at)
        inners = [inner]
    elif kind == _MAP:
        size, at = _varint(data, at)
        inners = [data[at] >> 4, data[at] & 0xF] if size else []
        at += 1 if size else 0
    else:
        raise IndexError(f"no kind of value: {kind}")
    if inners == [_BINARY]:
        for _ in range(size):
            length, at = _varint(data, at)
            at += length
        return at
    for _ in range(size):
        for inner in inners:
            # A boolean in a field is its own kind; among others it is a byte.
            at = _skip(data, at, _BYTE if inner in {_TRUE, _FALSE} else inner)
    return at
