"""Read Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

If a footer contradicts itself, pyarrow 26.0 ends the whole process when it is asked for a column chunk or
statistics: nothing catches the exception of its C++ code. So this module reads these facts. Field numbers are
those of `parquet.thrift` in the repository of the format. The format uses neither sets nor maps.
"""

from typing import Any, TypeAlias

TRUE, FALSE, BYTE, I16, I64, DOUBLE, BINARY, LIST, STRUCT = 1, 2, 3, 4, 6, 7, 8, 9, 12
WIDTHS = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8}
LAST = 0x7F
"""The last byte of a number is at most this; its other bytes are greater."""
SHORT = 0xF
"""The field's number follows a header that is at most this; others hold the difference to the last number."""

Shape: TypeAlias = dict[int, Any]
"""The fields of a struct to read, by their numbers: `int`, `bytes`, a shape, or a list with one of these."""


def read_struct(data: bytes, at: int, shape: Shape) -> tuple[dict[int, Any], int]:
    """Return the fields of the struct at `at`, as far as `shape` names them, and where the struct ends.

    Raises `IndexError` if the bytes end too early, and `ValueError` for a value of another kind.
    """
    found: dict[int, Any] = {}
    number = 0
    while header := data[at]:
        at += 1
        if header > SHORT:
            number += header >> 4
        else:
            number, at = _number(data, at)
        wanted = shape.get(number)
        if wanted is None:
            at = _skip(data, at, header & 0xF)
        else:
            found[number], at = _value(data, at, header & 0xF, wanted)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, wanted: Any) -> tuple[Any, int]:
    """Return the value at `at`, and where it ends."""
    if wanted is int and I16 <= kind <= I64:
        return _number(data, at)
    if wanted is bytes and kind == BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if isinstance(wanted, dict) and kind == STRUCT:
        return read_struct(data, at, wanted)
    if isinstance(wanted, list) and kind == LIST:
        size, kind, at = _list_header(data, at)
        values = []
        for _ in range(size):
            value, at = _value(data, at, kind, wanted[0])
            values.append(value)
        return values, at
    raise ValueError("a value is of another kind than the format says")


def _skip(data: bytes, at: int, kind: int) -> int:
    """Return where the value at `at` ends; most of a footer is skipped."""
    if I16 <= kind <= I64:
        while data[at] > LAST:
            at += 1
        return at + 1
    if kind == STRUCT:
        while header := data[at]:
            at += 1
            if header <= SHORT:
                _, at = _varint(data, at)
            at = _skip(data, at, header & 0xF)
        return at + 1
    if kind == LIST:
        size, kind, at = _list_header(data, at)
        for _ in range(size):
            at = _skip(data, at, kind)
        return at
    if kind == BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind not in WIDTHS:
        raise ValueError("a value is of another kind than the format says")
    return at + WIDTHS[kind]


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the size of a list, the kind of its elements, and where they begin."""
    size, kind = data[at] >> 4, data[at] & 0xF
    at += 1
    if size == 15:  # noqa: PLR2004  # the size follows
        size, at = _varint(data, at)
    if size > len(data):
        raise IndexError("a list ends after the data")
    # A boolean in a field is its own kind; in a list it is a byte.
    return size, BYTE if kind in {TRUE, FALSE} else kind, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number with seven bits in each byte, and where it ends."""
    value = shift = 0
    while (byte := data[at]) > LAST:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number that may be negative, written in zigzag, and where it ends."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
