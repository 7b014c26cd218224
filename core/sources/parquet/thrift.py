"""Read Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

If a footer contradicts itself, pyarrow 26.0 ends the whole process when it is asked for a column chunk or
statistics: nothing catches the exception of its C++ code. So this module reads these facts. Each function
returns the value at `at` and where it ends, and raises a `LookupError` or `ValueError` for bytes that end too
early or hold no value. The format uses neither sets nor maps.
"""

from collections.abc import Callable
from typing import Any

LAST = 0x7F
"""The last byte of a number is at most this; its other bytes are greater."""
BITS = 64
"""The most bits of a number."""


def read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by their numbers."""
    found = {}
    field = 0
    while header := data[at]:
        at += 1
        if step := header >> 4:
            field += step
        else:
            field, at = _integer(data, at)
        found[field], at = READ[header & 0xF](data, at)
    return found, at + 1


def _integer(data: bytes, at: int) -> tuple[int, int]:
    if (value := data[at]) <= LAST:  # nearly always
        at += 1
    else:
        value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    return data[at : at + length], at + length


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    size, kind = data[at] >> 4, data[at] & 0xF
    at += 1
    if size == 0xF:  # noqa: PLR2004  # the size follows
        size, at = _varint(data, at)
    if size > len(data):
        raise ValueError("a list ends after the data")
    # A boolean in a field is its own kind; in a list it is a byte.
    read = READ[max(kind, 3)]
    values = []
    for _ in range(size):
        value, at = read(data, at)
        values.append(value)
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number with seven bits in each byte."""
    value = shift = 0
    while (byte := data[at]) > LAST:
        value |= (byte & LAST) << shift
        shift += 7
        at += 1
        if shift > BITS:
            raise ValueError("a number is too long")
    return value | byte << shift, at + 1


READ: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    1: lambda _, at: (True, at),
    2: lambda _, at: (False, at),
    3: lambda data, at: (data[at], at + 1),
    **dict.fromkeys((4, 5, 6), _integer),  # of 16, 32 and 64 bits
    7: lambda data, at: (data[at : at + 8], at + 8),
    8: _text,
    9: _list,
    12: read_struct,
}
"""The function for each type of the protocol."""
