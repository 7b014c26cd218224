"""Open a source: which files it has, in which version, and how a store lists them and reads their bytes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol, TypeAlias

import pyarrow as pa

from core.domain import SourceChanged, SourceNotFound, SourceUnreachable
from core.runtime import Settings
from core.sources.folder import is_without_month, partition_month
from core.sources.location import Location, check_source

Range = tuple[int, int]
"""The first byte, and the one after the last."""
Bytes: TypeAlias = bytes | pa.Buffer


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One version of a Parquet file of a source.

    `path` is unique in the source, `key` is its name in the store, `size` is in bytes, and with `pin` the
    store reads this version and no other. `month` is that of its Hive partition and of all its rows, or None.
    """

    path: str
    key: str
    size: int
    version: str
    pin: str
    month: date | None = None


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


class Source:
    """What `source_uri` names, pinned to the version that it had when it was opened.

    `version` is that of its one file, or a digest of all. `requests`: see `Store`.
    """

    def __init__(self, location: Location, store: Store) -> None:
        self.uri = location.uri
        self.requests = store.requests
        self._location = location
        self._store = store
        self.files, self.version = self._resolve()

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of `file`, as few and as large as the caller wants its requests to be.

        Thread-safe. Raises `SourceChanged` if the file is no longer the same, another
        `SourceError`, or `Interrupted` when the process is stopped.
        """
        parts = self._store.read(file, ranges)
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
            unchanged = self._resolve() == (self.files, self.version)
        except SourceNotFound:
            unchanged = False
        if not unchanged:
            raise replaced(self.uri)

    def _resolve(self) -> tuple[list[SourceFile], str]:
        found = self._store.find(self._location)
        version = found[0].version
        if len(found) > 1:
            listed = repr([(file.path, file.version, file.size) for file in found])
            version = f"files:{len(found)},sha256:{hashlib.sha256(listed.encode()).hexdigest()}"
        files = [
            replace(file, month=partition_month(file.path))
            for file in found
            if not is_without_month(file.path)
        ]
        return files, version


def open_uri(source_uri: str, settings: Settings) -> Source:
    """Resolve `source_uri` to its files, in name order, and the version they have now.

    Every instance is new, with its own connections and no cache, so that many threads may each open what
    they like and a later run sees what changed. No request leaves before `check_source` has agreed.

    Raises `InvalidRequest`, any `SourceError` but `SourceInvalid` of a file's content, or `Interrupted`.
    """
    location = check_source(source_uri, settings)
    return Source(location, _store(location.scheme, settings))


def _store(scheme: str, settings: Settings) -> Store:
    # Each cloud's library costs a good part of a second to import; a run needs at most one store.
    if scheme == "gs":
        from core.sources.gcs import GcsStore  # noqa: PLC0415

        return GcsStore(settings)
    if scheme == "s3":
        from core.sources.s3 import S3Store  # noqa: PLC0415

        return S3Store(settings)
    from core.sources.local import LocalStore  # noqa: PLC0415

    return LocalStore(settings)
