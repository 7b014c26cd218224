"""Parse a source URI and check whether it may be read, without a request."""

import os.path
import re
from dataclasses import dataclass
from urllib.parse import unquote

from core.domain import InvalidRequest, RiskAlertsError, SourceNotAllowed, SourceSchemeUnsupported
from core.runtime import Settings

SCHEMES = ("file", "gs", "s3")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed source URI, free of credentials, so that messages may show it.

    `path` is absolute and percent-decoded for `file`, and `bucket/key`, literal, for the clouds; a slash at
    its end, which asks for a folder, is kept in `uri` alone. A last segment with a `*` is the `pattern`
    that selects files of the folder `path`.
    """

    uri: str
    scheme: str
    path: str
    pattern: str | None = None

    @property
    def wants_folder(self) -> bool:
        """Whether the URI ends in a slash, and so names a folder."""
        return self.uri.endswith("/")


def check_source(source_uri: str, settings: Settings) -> None:
    """Check scheme, credentials and `ALLOWED_SOURCES`, with no I/O but the real path of a local source.

    Raises `SourceSchemeUnsupported`, `InvalidRequest` or `SourceNotAllowed`.
    """
    location = parse_source(source_uri)
    if not is_allowed(location, settings.allowed_sources):
        raise SourceNotAllowed(
            f"{location.uri}: ALLOWED_SOURCES has no prefix of it: name another source, or add one"
        )
    if location.scheme != "file" and _has_dot_segments(location.path):
        # Object stores have no `..`, but a proxy or an emulator may resolve it.
        raise InvalidRequest(f"{location.uri}: the path must not hold . or .. segments: write it without")


def parse_source(source_uri: str) -> Location:
    """Parse the URI.

    Raises `SourceSchemeUnsupported`, or `InvalidRequest`; a URI with credentials is never shown.
    """
    scheme, separator, rest = source_uri.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        named = f"scheme {scheme!r}" if separator and _SCHEME.fullmatch(scheme) else "a URI without a scheme"
        raise SourceSchemeUnsupported(f"{named} is not supported: use file://, gs:// or s3://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise InvalidRequest(
            "source_uri must not carry credentials: give them in the environment of the service"
        )
    if "?" in rest:
        raise InvalidRequest(
            "source_uri must not have a query string, lest it carry a secret (write ? in a path as %3F)"
        )
    if not source_uri.isprintable():
        raise InvalidRequest("source_uri must not hold line breaks or other unprintable characters")
    folder, _, last = (slash + path).rpartition("/")
    if "*" in folder:
        raise InvalidRequest(
            "source_uri may have a * only in its last segment, where it selects files of the folder"
            " (write %2A for a * in the name of a local file or folder)"
        )
    pattern = last if "*" in last else None
    if pattern is not None:
        path = folder.removeprefix("/")
    if scheme.lower() == "file":
        return Location(
            source_uri, "file", _local_path(authority, slash + path), pattern and unquote(pattern)
        )
    if not _BUCKET.fullmatch(authority):
        raise InvalidRequest(f"source_uri names no bucket: write {scheme.lower()}://bucket/path")
    return Location(source_uri, scheme.lower(), f"{authority}/{path}".rstrip("/"), pattern)


def _local_path(host: str, path: str) -> str:
    if host.lower() not in {"", "localhost"} or not path:
        raise InvalidRequest("a local source_uri must have an absolute path and no host: file:///path/to/it")
    path = unquote(path, errors="surrogateescape")
    if "\0" in path:
        raise InvalidRequest("source_uri must not hold a null byte")
    return path


def is_allowed(location: Location, allowed_sources: list[str] | None) -> bool:
    """Whether one of the prefixes, if there are any, leads to `location`; local ones by their real paths."""
    if allowed_sources is None:
        return True
    if location.scheme == "file":
        return is_path_allowed(location.path, allowed_sources)
    if _has_dot_segments(location.path):
        return False
    uri = f"{location.scheme}://{location.path}"
    prefixes = [re.sub(r"^[^:/]+", lambda scheme: scheme[0].lower(), text) for text in allowed_sources]
    return any(_is_under(uri, prefix) for prefix in prefixes)


def is_path_allowed(path: str, allowed_sources: list[str] | None) -> bool:
    """Whether the real path of `path` is at or under an allowed `file://` prefix, if any prefixes are set."""
    if allowed_sources is None:
        return True
    real = os.path.realpath(path)
    return any(_is_under(real, prefix) for prefix in _allowed_paths(allowed_sources))


def _allowed_paths(allowed_sources: list[str]) -> list[str]:
    paths = []
    for prefix in allowed_sources:
        try:
            location = parse_source(prefix)
        except RiskAlertsError:
            continue  # A prefix that cannot be parsed allows nothing.
        if location.scheme == "file" and location.pattern is None:
            paths.append(os.path.realpath(location.path))
    return paths


def _is_under(path: str, prefix: str) -> bool:
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")


def _has_dot_segments(path: str) -> bool:
    return any(segment in {".", ".."} for segment in unquote(path).split("/"))
