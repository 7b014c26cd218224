"""A resolved source: which files it has, in which version, and how their bytes are read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeAlias

import pyarrow as pa

from core.domain import SourceChanged, SourceNotFound, SourceUnreachable
from core.sources.folder import is_without_month, partition_month
from core.sources.location import Location

Range = tuple[int, int]
"""The first byte, and the one after the last."""
Bytes: TypeAlias = bytes | pa.Buffer


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its store knows it.

    `path` within the source, `key` in the store, `size` in bytes, and `pin`, by which the store can be asked
    for this version and no other.
    """

    path: str
    key: str
    size: int
    version: str
    pin: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a store found at a location: the one file, or the data files of the folder, in name order."""

    is_folder: bool
    files: tuple[StoredFile, ...]


class Store(Protocol):
    """One kind of storage. Every failure is raised as one of the `SourceError`s.

    `requests`: how many reads more than there are processors are worth waiting for at once.
    """

    requests: int

    def find(self, location: Location) -> Listing:
        """List the file at `location`, or the data files of the folder (`data_names`), from scratch."""

    def read(self, file: StoredFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of that version of `file`, each with one request, side by side."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One Parquet file of a source.

    `path` is unique in the source; `month` is that of its Hive partition, if there is one, and then holds for
    every row of the file.
    """

    path: str
    month: date | None
    stored: StoredFile


class Source:
    """What `source_uri` names, pinned to the version that it had when it was opened."""

    def __init__(self, location: Location, store: Store) -> None:
        self.uri = location.uri
        self._location = location
        self._store = store
        self.files, self.version = self._resolve()

    @property
    def requests(self) -> int:
        """See `Store`."""
        return self._store.requests

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of `file`, as few and as large as the caller wants its requests to be.

        Thread-safe. Raises `SourceChanged` if the file is no longer the same, another
        `SourceError`, or `Interrupted` when the process is stopped.
        """
        parts = self._store.read(file.stored, ranges)
        for (start, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - start:
                raise SourceUnreachable(
                    f"{file.path}: the store answered {len(part)} bytes where {end - start} were asked for:"
                    " run the month again"
                )
        return parts

    def verify_unchanged(self) -> None:
        """List the source again, and raise `SourceChanged` unless it is what it was."""
        try:
            _, version = self._resolve()
        except SourceNotFound:
            version = "gone"
        if version != self.version:
            raise SourceChanged(
                f"{self.uri} was replaced while it was read: it was {self.version} and is now {version}:"
                " run the month again"
            )

    def _resolve(self) -> tuple[tuple[SourceFile, ...], str]:
        """List the files in name order, and the version: the file's own, or a digest of the folder's."""
        listing = self._store.find(self._location)
        if not listing.is_folder:
            stored = listing.files[0]
            return (SourceFile(stored.path, None, stored),), stored.version
        digest = hashlib.sha256()
        for file in listing.files:
            digest.update(f"{file.path}\0{file.version}\0{file.size}\n".encode("utf-8", "surrogateescape"))
        files = tuple(
            SourceFile(file.path, partition_month(file.path), file)
            for file in listing.files
            if not is_without_month(file.path)
        )
        return files, f"files:{len(listing.files)},sha256:{digest.hexdigest()}"
