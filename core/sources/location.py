"""Parse a source URI and check whether it may be read, without a request."""

import os.path
import re
from dataclasses import dataclass
from urllib.parse import unquote

from core.domain import InvalidRequest, SourceNotAllowed, SourceSchemeUnsupported
from core.runtime import Settings


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed source URI, free of credentials, so that messages may show it.

    For `file`, `path` is absolute and percent-decoded. For the clouds, it is `bucket/key` as written, without
    the slash at its end, which means a folder: only `uri` keeps that slash. If the last segment has a `*`, it
    is the `pattern` that selects files of the folder `path`.
    """

    uri: str
    scheme: str
    path: str
    pattern: str | None = None


def check_source(source_uri: str, settings: Settings) -> Location:
    """Parse the URI as `parse_source` does; raise `SourceNotAllowed` unless `ALLOWED_SOURCES` includes it."""
    location = parse_source(source_uri)
    local = location.scheme == "file"
    place = os.path.realpath(location.path) if local else f"{location.scheme}://{location.path}"
    allowed = settings.allowed_sources
    # Object stores have no `..`, but a proxy or an emulator may resolve it.
    dots = not local and not {".", ".."}.isdisjoint(unquote(location.path).split("/"))
    if not is_allowed(place, allowed) or (dots and allowed is not None):
        raise SourceNotAllowed(
            f"{location.uri}: not in ALLOWED_SOURCES: name another source, or add a prefix of it"
        )
    if dots:
        raise InvalidRequest(f"{location.uri}: the path must not hold . or .. segments: write it without")
    return location


def is_allowed(place: str, allowed_sources: list[str] | None) -> bool:
    """Return whether `place` (a real path or `gs://bucket/key`) is allowed; None allows every place."""
    if allowed_sources is None:
        return True
    prefixes = (_allowed_place(prefix).rstrip("/") for prefix in allowed_sources)
    return any(f"{place}/".startswith(f"{prefix}/") for prefix in prefixes)


def _allowed_place(prefix: str) -> str:
    scheme, _, rest = prefix.partition("://")
    if scheme.lower() != "file":
        return f"{scheme.lower()}://{rest}"
    # The system raises an error for a null byte, and no allowed path has one.
    return os.path.realpath(unquote(rest, errors="surrogateescape").replace("\0", "\ufffd"))


def parse_source(source_uri: str) -> Location:
    """Parse the URI; raise `SourceSchemeUnsupported` or `InvalidRequest`, which never show credentials."""
    if not source_uri.strip():
        raise InvalidRequest("source_uri must not be empty: name a file or a folder")
    scheme, separator, rest = source_uri.partition("://")
    if not separator or scheme.lower() not in {"file", "gs", "s3"}:
        # The text before :// may be a secret.
        named = separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme)
        given = f"scheme {scheme!r}" if named else "source_uri without a scheme"
        raise SourceSchemeUnsupported(f"{given} is not supported: use file://, gs:// or s3://")
    scheme = scheme.lower()
    authority, slash, path = rest.partition("/")
    folder, _, last = (slash + path).rpartition("/")
    local = scheme == "file"
    foreign = local and not (slash and authority.lower() in {"", "localhost"})
    nameless = not local and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", authority)
    for wrong, must in (
        ("@" in authority, "not carry credentials: give them in the environment of the service"),
        ("?" in rest, "not have a query string, which may carry a secret (write ? in a path as %3F)"),
        (not source_uri.isprintable(), "not hold line breaks or other unprintable characters"),
        ("*" in folder, "have a * only in its last segment (write %2A for one in a local name)"),
        (foreign, "have an absolute path and no host if it is local: write file:///path/to/it"),
        (local and "%00" in path, "not hold a null byte"),
        (nameless, f"name a bucket: write {scheme}://bucket/path"),
    ):
        if wrong:
            raise InvalidRequest(f"source_uri must {must}")
    pattern = last if "*" in last else None
    path = (folder or "/") if pattern else slash + path
    if local:
        path = unquote(path, errors="surrogateescape")
        return Location(source_uri, scheme, path, pattern and unquote(pattern))
    return Location(source_uri, scheme, f"{authority}{path}".rstrip("/"), pattern)
