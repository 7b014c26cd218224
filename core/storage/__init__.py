"""Where sources live: `open_uri` resolves a URI, and nothing else in the project knows a disk or a cloud."""

from core.runtime import Settings
from core.storage.location import Location, check_source, parse_source
from core.storage.source import Source, SourceFile, Store

__all__ = ["Source", "SourceFile", "check_source", "open_uri"]


def open_uri(source_uri: str, settings: Settings) -> Source:
    """Resolve `source_uri` to its files, in name order, and the version they have now.

    Every instance is new, with its own connections and no cache, so that many threads may each open what
    they like and a later run sees what changed. No request leaves before `check_source` has agreed.

    Raises `InvalidRequest`, any `SourceError` but `SourceInvalid` of a file's content, or `Interrupted`.
    """
    check_source(source_uri, settings)
    location = parse_source(source_uri)
    return Source(location, _store(location, settings))


def _store(location: Location, settings: Settings) -> Store:
    # Each cloud's library costs a good part of a second to import; a run needs at most one.
    match location.scheme:
        case "gs":
            from core.storage.gcs import GcsStore  # noqa: PLC0415

            return GcsStore(settings)
        case "s3":
            from core.storage.s3 import S3Store  # noqa: PLC0415

            return S3Store(settings)
        case _:
            from core.storage.local import LocalStore  # noqa: PLC0415

            return LocalStore(settings)
