"""Read Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

pyarrow 26.0 ends the whole process when it is asked for a column chunk or statistics of a footer that
contradicts itself, as no one catches what its C++ throws. So the reader takes these facts from here. Field
numbers are those of `parquet.thrift` in the format's own repository.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
NUMBERS = (4, 5, 6)  # Of 16, 32 and 64 bits, each as long as it needs.


@dataclass(frozen=True, slots=True)
class Each:
    """A list: what each element is, and the places of those to read; the others are left out."""

    element: "type[int | bytes] | Shape"
    places: Container[int] | None = None


Shape: TypeAlias = "Mapping[int, type[int | bytes] | Shape | Each]"
"""The fields of a struct to read, by their numbers: structs, lists, and plain values."""


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
            number, at = _zigzag(data, at)
        if number in shape:
            found[number], at = _value(data, at, header & 0xF, shape[number])
        else:
            at = _skip(data, at, header & 0xF)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, shape: "type[int | bytes] | Shape | Each") -> tuple[Any, int]:
    if kind in NUMBERS and shape is int:
        return _zigzag(data, at)
    if kind == BINARY and shape is bytes:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise IndexError("a text ends after the data")
        return data[at : at + length], at + length
    if kind == STRUCT and isinstance(shape, Mapping):
        return read_struct(data, at, shape)
    if kind == LIST and isinstance(shape, Each):
        return _list(data, at, shape)
    raise ValueError("a value is of another kind than the format says")


def _list(data: bytes, at: int, shape: Each) -> tuple[list[Any], int]:
    size, kind, at = _list_header(data, at)
    values = []
    for place in range(size):
        if shape.places is None or place in shape.places:
            value, at = _value(data, at, kind, shape.element)
            values.append(value)
        else:
            at = _skip(data, at, kind)
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one has no high bit
            return value, at
        shift += 7


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    """Return a number that may be negative, and where it ends."""
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return how many elements follow, their kind, and where they begin."""
    size, kind = data[at] >> 4, data[at] & 0xF
    if size == 15:  # noqa: PLR2004  # so many or more
        size, at = _varint(data, at + 1)
        return size, kind, at
    return size, kind, at + 1


def _skip(data: bytes, at: int, kind: int) -> int:
    """Return where the value that begins at `at` ends."""
    if kind in NUMBERS:
        while data[at] > 0x7F:  # noqa: PLR2004
            at += 1
        return at + 1
    if kind == BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == STRUCT:
        while header := data[at]:
            at += 1
            if header < 0x10:  # noqa: PLR2004  # the field's number stands for itself
                at = _skip(data, at, NUMBERS[0])
            at = _skip(data, at, header & 0xF)
        return at + 1
    if kind in {TRUE, FALSE}:
        return at
    if kind in {BYTE, DOUBLE}:
        return at + (1 if kind == BYTE else 8)
    return _skip_elements(data, at, kind)


def _skip_elements(data: bytes, at: int, kind: int) -> int:
    if kind in {LIST, SET}:
        size, inner, at = _list_header(data, at)
        inners = [inner]
    elif kind == MAP:
        size, at = _varint(data, at)
        inners = [data[at] >> 4, data[at] & 0xF] if size else []
        at += 1 if size else 0
    else:
        raise IndexError(f"no kind of value: {kind}")
    for _ in range(size):
        for inner in inners:
            # A boolean in a field is its own kind; among others it is a byte.
            at = _skip(data, at, BYTE if inner in {TRUE, FALSE} else inner)
    return at
