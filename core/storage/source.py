"""A resolved source: which files it has, in which version, and how their bytes are read."""

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from urllib.parse import unquote

from core.errors import SourceChanged, SourceInvalid, SourceNotFound, SourceUnreachable
from core.storage.location import Location

PARQUET_SUFFIXES = (".parquet", ".pq", ".parq")
NOT_DATA = ("_", ".")
"""How names begin that Spark and others keep for notes of their own."""
NO_PARTITION_VALUE = "__HIVE_DEFAULT_PARTITION__"

_MIDNIGHT = re.compile(r"(?:[ T]00:00(?::00(?:\.0+)?)?)?")


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
    """What a store found at a location: the one file, or everything in the folder."""

    is_folder: bool
    files: tuple[StoredFile, ...]


class Store(Protocol):
    """One kind of storage. Every failure is raised as one of the `SourceError`s."""

    def find(self, location: Location) -> Listing:
        """List what is at `location`, always anew."""

    def reader(self, file: StoredFile) -> io.RawIOBase:
        """Open that version of `file` for random access."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One Parquet file of a source.

    `path` is unique in the source; `month` is what the Hive partition `month=…` says, if there is one, and
    then holds for every row of the file.
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

    def open(self, file: SourceFile) -> io.RawIOBase:
        """Open `file` for random access; a read raises `SourceChanged` if the file is no longer the same."""
        return self._store.reader(file.stored)

    def verify_unchanged(self) -> None:
        """List the source again, and raise `SourceChanged` unless it is what it was."""
        try:
            _, version = self._resolve()
        except SourceNotFound:
            version = "gone"
        if version != self.version:
            raise SourceChanged(
                f"{self.uri} was replaced while it was read: it was {self.version} and is now {version}"
            )

    def _resolve(self) -> tuple[tuple[SourceFile, ...], str]:
        """List the files in name order, and the version: the file's own, or a digest of the folder's."""
        listing = self._store.find(self._location)
        if not listing.is_folder:
            stored = listing.files[0]
            return (SourceFile(stored.path, None, stored),), stored.version
        kept = sorted((file for file in listing.files if is_data(file.path)), key=lambda file: file.path)
        if not kept:
            raise SourceNotFound(f"{self.uri}: no Parquet file (*.parquet, *.pq, *.parq) is in this folder")
        digest = hashlib.sha256()
        for file in kept:
            digest.update(f"{file.path}\0{file.version}\0{file.size}\n".encode("utf-8", "surrogateescape"))
        files = tuple(
            SourceFile(file.path, _partition_month(file.path), file)
            for file in kept
            if f"/month={NO_PARTITION_VALUE}/" not in f"/{file.path}"
        )
        return files, f"files:{len(kept)},sha256:{digest.hexdigest()}"


def is_data(path: str) -> bool:
    """Whether a file is data: Spark and others keep their own notes under names with a _ or . in front."""
    names = path.split("/")
    return path.lower().endswith(PARQUET_SUFFIXES) and not any(name.startswith(NOT_DATA) for name in names)


def _partition_month(path: str) -> date | None:
    """Read the month from the nearest folder `month=…`: a date, or a midnight as Spark writes it."""
    for name in reversed(path.split("/")[:-1]):
        if name.startswith("month="):
            value = unquote(name.removeprefix("month="))
            try:
                month = date.fromisoformat(value[:10])
            except ValueError:
                month = None
            if month is None or not _MIDNIGHT.fullmatch(value[10:]):
                raise SourceInvalid(f"{path}: the partition must be month=YYYY-MM-01")
            return month
    return None


class RangeReader(io.RawIOBase):
    """A read-only file in which every `read` is exactly one call of `fetch(start, end)`.

    There is no read-ahead: Arrow already asks for whole column chunks, and what it does not ask for must not
    be paid for. `fetch` must answer with exactly `end - start` bytes or raise.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size = size
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        """Answer that it can be read."""
        return True

    def seekable(self) -> bool:
        """Answer that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Position in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move without reading; a position past the end reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Fetch up to `size` bytes, or all that is left, in one go."""
        start = min(self._position, self._size)
        end = self._size if size is None or size < 0 else min(start + size, self._size)
        if start == end:
            return b""
        data = self._fetch(start, end)
        if len(data) != end - start:
            raise SourceUnreachable(
                f"the store answered {len(data)} bytes where {end - start} were asked for"
            )
        self._position = end
        return data
