"""Read Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

pyarrow 26.0 ends the whole process when it is asked for a column chunk or statistics of a footer that
contradicts itself, as no one catches what its C++ throws. So the reader takes these facts from here. Field
numbers are those of `parquet.thrift` in the format's own repository, which has neither sets nor maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, STRUCT = 1, 2, 3, 7, 8, 9, 12
NUMBERS = (4, 5, 6)  # Of 16, 32 and 64 bits, each as long as it needs.
WIDTHS = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8}


Shape: TypeAlias = "Mapping[int, type[int | bytes] | Shape | Sequence[type[int | bytes] | Shape]]"
"""The fields of a struct to read, by their numbers: plain values, structs, or a list with its element."""
_Wanted: TypeAlias = "type[int | bytes] | Shape | Sequence[type[int | bytes] | Shape] | None"
"""What a value is read as; None skips it."""


def read_struct(data: bytes, at: int, shape: Shape) -> tuple[dict[int, Any], int]:
    """Return the fields of the struct at `at`, as far as `shape` names them, and where the struct ends.

    Raises `IndexError` for bytes that end too early and `ValueError` for a value of another kind.
    """
    found: dict[int, Any] = {}
    number = 0
    while header := data[at]:
        at += 1
        if header > 0xF:  # noqa: PLR2004  # the difference to the number before
            number += header >> 4
        else:
            number, at = _number(data, at)
        wanted = shape.get(number)
        value, at = _value(data, at, header & 0xF, wanted)
        if wanted is not None:
            found[number] = value
    return found, at + 1


def _value(data: bytes, at: int, kind: int, wanted: _Wanted) -> tuple[Any, int]:
    """Return the value at `at`, and where it ends."""
    if kind in NUMBERS and wanted in (int, None):
        return _number(data, at)
    if kind == BINARY and wanted in (bytes, None):
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind == STRUCT and (wanted is None or isinstance(wanted, Mapping)):
        return read_struct(data, at, wanted or {})
    if kind == LIST and (wanted is None or isinstance(wanted, Sequence)):
        return _list(data, at, wanted and wanted[0])
    if wanted is None and kind in WIDTHS:
        if at > len(data):
            raise IndexError("a value ends after the data")
        return None, at + WIDTHS[kind]
    raise ValueError("a value is of another kind than the format says")


def _list(data: bytes, at: int, element: _Wanted) -> tuple[list[Any], int]:
    size, kind = data[at] >> 4, data[at] & 0xF
    at += 1
    if size == 15:  # noqa: PLR2004  # so many or more
        size, at = _varint(data, at)
    if kind in {TRUE, FALSE}:
        kind = BYTE  # A boolean in a field is its own kind; in a list it is a byte.
    values = []
    for _ in range(size):
        value, at = _value(data, at, kind, element)
        if element is not None:
            values.append(value)
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    while (byte := data[at]) > 0x7F:  # noqa: PLR2004  # the last one has no high bit
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number that may be negative, written in zigzag, and where it ends."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
