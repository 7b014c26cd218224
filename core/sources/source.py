"""A source: its files, pinned to one version, and how their bytes are read."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import pyarrow as pa

from core.domain import SourceChanged, SourceNotFound, SourceUnreachable
from core.runtime import Settings
from core.sources.folder import partition_month
from core.sources.location import Location, check_source
from core.sources.workers import check_stop

Range = tuple[int, int]
"""The position of the first byte, and the position after the last byte."""
Bytes: TypeAlias = bytes | pa.Buffer


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One version of a Parquet file of a source.

    `path` is unique in the source. `key` is the file's name in the store, `size` is in bytes, and with `pin`
    the store reads only this version.
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


class Source(ABC):
    """The files at a location, pinned to the versions that they had when the source was opened.

    `version` is the version of the only file, or a digest of all versions. `requests` is how many reads may
    wait at once, in addition to one per processor. Every failure is raised as a `SourceError`.
    """

    requests = 0

    def __init__(self, location: Location, settings: Settings) -> None:
        self.uri = location.uri
        self._location = location
        self._settings = settings
        self.files = self._find(location)
        listed = repr([(file.path, file.version, file.size) for file in self.files])
        digest = hashlib.sha256(listed.encode()).hexdigest()
        of_all = f"files:{len(self.files)},sha256:{digest}"
        self.version = self.files[0].version if len(self.files) == 1 else of_all

    @abstractmethod
    def _find(self, location: Location) -> list[SourceFile]:
        """List the file at `location`, or the data files of the folder in name order (`data_names`)."""

    @abstractmethod
    def _read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges, each with one request; raise `SourceNotFound` if this version is gone."""

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of `file` side by side; safe to call from several threads.

        Raises `SourceChanged` if the file is no longer the same, another `SourceError`, or `Interrupted` when
        the process is stopped.
        """
        check_stop()
        try:
            parts = self._read(file, ranges)
        except SourceNotFound:
            raise _replaced(file.path) from None
        for (start, end), part in zip(ranges, parts, strict=True):
            if (size := len(part)) != end - start:
                raise SourceUnreachable(
                    f"{file.path}: the store sent {size} of {end - start} bytes: run the month again"
                )
        return parts

    def verify_unchanged(self) -> None:
        """List the source again; raise `SourceChanged` if it has other files or versions than before."""
        with suppress(SourceNotFound):
            if self._find(self._location) == self.files:
                return
        raise _replaced(self.uri)


def _replaced(what: str) -> SourceChanged:
    return SourceChanged(f"{what} was replaced while the source was read: run the month again")


def open_uri(source_uri: str, settings: Settings) -> Source:
    """Resolve `source_uri` to its files, in name order, and the version they have now.

    Each call makes its own connections and caches nothing: threads may open sources at the same time, and a
    later run sees what has changed. No file is read yet. Raises `InvalidRequest`, `SettingsError`, a
    `SourceError`, or `Interrupted`.
    """
    location = check_source(source_uri, settings)
    # Each cloud's library costs a good part of a second to import; a run needs at most one.
    if location.scheme == "gs":
        from core.sources.gcs import GcsSource  # noqa: PLC0415

        return GcsSource(location, settings)
    if location.scheme == "s3":
        from core.sources.s3 import S3Source  # noqa: PLC0415

        return S3Source(location, settings)
    from core.sources.local import LocalSource  # noqa: PLC0415

    return LocalSource(location, settings)
