"""Open a source: which files it has, in which version, and how their bytes are read."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from core.domain import SourceNotFound, SourceUnreachable
from core.runtime import Settings
from core.sources.folder import is_without_month
from core.sources.local import LocalStore
from core.sources.location import Location, check_source
from core.sources.store import Bytes, Range, SourceFile, Store, replaced


class Source:
    """What `source_uri` names, pinned to the version that it had when it was opened.

    `version` is that of its one file, or a digest of all. `requests`: see `Store`.
    """

    def __init__(self, location: Location, store: Store) -> None:
        self.uri = location.uri
        self.requests = store.requests
        self._location = location
        self._store = store
        self._found = store.find(location)
        self.files = [file for file in self._found if not is_without_month(file.path)]
        self.version = self._found[0].version
        if len(self._found) > 1:
            listed = repr([(file.path, file.version, file.size) for file in self._found])
            digest = hashlib.sha256(listed.encode()).hexdigest()
            self.version = f"files:{len(self._found)},sha256:{digest}"

    def read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        """Read these ranges of `file`, each with one request; safe to call from several threads.

        Raises `SourceChanged` if the file is no longer the same, another `SourceError`, or `Interrupted` when
        the process is stopped.
        """
        try:
            parts = self._store.read(file, ranges)
        except SourceNotFound:
            raise replaced(file.path) from None
        for (start, end), part in zip(ranges, parts, strict=True):
            if (size := len(part)) != end - start:
                raise SourceUnreachable(
                    f"{file.path}: the store sent {size} of {end - start} bytes: run the month again"
                )
        return parts

    def verify_unchanged(self) -> None:
        """List the source again, and raise `SourceChanged` unless it is what it was."""
        with suppress(SourceNotFound):
            if self._store.find(self._location) == self._found:
                return
        raise replaced(self.uri)


def open_uri(source_uri: str, settings: Settings) -> Source:
    """Resolve `source_uri` to its files, in name order, and the version they have now.

    Each call makes its own connections and caches nothing: threads may open sources at the same time, and a
    later run sees what has changed. Raises `InvalidRequest`, `SettingsError`, any `SourceError` but
    `SourceInvalid` of a file's content, or `Interrupted`.
    """
    location = check_source(source_uri, settings)
    # Each cloud's library costs a good part of a second to import; a run needs at most one.
    if location.scheme == "gs":
        from core.sources.gcs import GcsStore  # noqa: PLC0415

        return Source(location, GcsStore(settings))
    if location.scheme == "s3":
        from core.sources.s3 import S3Store  # noqa: PLC0415

        return Source(location, S3Store(settings))
    return Source(location, LocalStore(settings))
