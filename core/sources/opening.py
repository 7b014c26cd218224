"""Resolve a URI to a source in its store."""

from core.runtime import Settings
from core.sources.location import Location, check_source, parse_source
from core.sources.source import Source, Store


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
            from core.sources.gcs import GcsStore  # noqa: PLC0415

            return GcsStore(settings)
        case "s3":
            from core.sources.s3 import S3Store  # noqa: PLC0415

            return S3Store(settings)
        case _:
            from core.sources.local import LocalStore  # noqa: PLC0415

            return LocalStore(settings)
