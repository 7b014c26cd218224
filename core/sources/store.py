"""The interface of a store: list the files of a source, and read byte ranges of one version of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeAlias

import pyarrow as pa

from core.domain import SourceChanged
from core.sources.folder import partition_month
from core.sources.location import Location

Range = tuple[int, int]
"""The first byte, and the one after the last."""
Bytes: TypeAlias = bytes | pa.Buffer


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One version of a Parquet file of a source.

    `path` is unique in the source, `key` is its name in the store, `size` is in bytes, and with `pin` the
    store reads this version and no other.
    """

    path: str
    key: str
    size: int
    version: str
    pin: str

    @property
    def month(self) -> date | None:
        """Return the month of its Hive partition, and so of all its rows, or None; raise `SourceInvalid`."""
        return partition_month(self.path)


class Store(Protocol):
    """One kind of storage. Every failure is raised as one of the `SourceError`s.

    `requests` is how many reads may wait at once, in addition to one per processor.
    """

    requests: int

    def find(self, location: Location) -> list[SourceFile]:
        """List the file at `location`, or the data files of the folder in name order (`data_names`)."""

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of that version of `file`, each with one request, side by side."""


def replaced(what: str) -> SourceChanged:
    """Return the error for a source or a file whose pinned version is gone."""
    return SourceChanged(f"{what} was replaced while the source was read: run the month again")
