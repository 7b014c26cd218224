"""A resolved source: which files it has, in which version, and how their bytes are read."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeAlias
from urllib.parse import unquote

import pyarrow as pa

from core.errors import SourceChanged, SourceInvalid, SourceNotFound, SourceUnreachable
from core.storage.location import Location

PARQUET_SUFFIXES = (".parquet", ".pq", ".parq")
Range = tuple[int, int]
"""The first byte, and the one after the last."""
Bytes: TypeAlias = bytes | pa.Buffer
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
    """One kind of storage. Every failure is raised as one of the `SourceError`s.

    `requests`: how many reads more than there are processors are worth waiting for at once.
    """

    requests: int

    def find(self, location: Location) -> Listing:
        """List what is at `location`, always anew."""

    def read(self, file: StoredFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of that version of `file`, each with one request, side by side."""


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

    @property
    def requests(self) -> int:
        """See `Store`."""
        return self._store.requests

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of `file`, as few and as large as the caller wants its requests to be.

        Thread-safe. Raises `SourceChanged` if the file is no longer the same, another
        `SourceError`, or `Interrupted` when the process is told to stop.
        """
        parts = self._store.read(file.stored, ranges)
        for (start, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - start:
                raise SourceUnreachable(
                    f"{file.path}: the store answered {len(part)} bytes where {end - start} were asked for"
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
