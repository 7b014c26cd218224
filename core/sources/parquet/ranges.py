"""Byte ranges of a file: how to merge requests, and a file made of the ranges that were read."""

import io
import math
import os
from collections.abc import Iterable

from core.sources.source import Bytes, Range

Piece = tuple[int, Bytes]
"""The position of the first byte, and the bytes."""
WASTE = 0.05
"""The share of bytes that may be read in addition to the needed ones, to save requests."""


def coalesce(needed: Iterable[Range]) -> list[Range]:
    """Merge ranges that touch, and ranges with gaps until all gaps together reach the share `WASTE`.

    A request to an object store costs tens of milliseconds, in which the store could have sent megabytes. The
    result is in order, has no overlaps, and covers each of `needed`.
    """
    ranges = sorted(one for one in needed if one[0] < one[1])
    budget = WASTE * sum(end - start for start, end in ranges)
    merged: list[Range] = []
    for start, end in ranges:
        gap = start - merged[-1][1] if merged else math.inf
        if gap <= budget:
            budget -= max(gap, 0)
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


class Pieces(io.RawIOBase):
    """A read-only file of `size` bytes, of which only some pieces are in memory.

    Reading other bytes is an error, because each request to a store must be planned.
    """

    def __init__(self, size: int, pieces: Iterable[Piece]) -> None:
        super().__init__()
        self._size = size
        self._pieces = [(first, memoryview(part)) for first, part in pieces]
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move without reading."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int | None = -1, /) -> memoryview:
        """Return `size` bytes; see `at`."""
        start = self._position
        self._position = self._size if size is None or size < 0 else start + size
        return self.at(start, self._position)

    def at(self, start: int, end: int) -> memoryview:
        """Return these bytes without copying them; raise `EOFError` unless one piece holds them all."""
        for first, part in self._pieces:
            if first <= start and end - first <= len(part):
                return part[start - first : end - first]
        raise EOFError(f"bytes {start} to {end} lie outside of the column chunks that the footer names")
