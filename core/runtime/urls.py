"""Checks of settings that are URLs, and the part of a URL that may be shown."""

import re
from urllib.parse import urlsplit

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")
_SLASHES = (
    "sqlite:///data/risk_alerts.db for a path from the working directory,"
    " sqlite:////data/risk_alerts.db for an absolute one"
)
_ESCAPED = "write @ as %40, : as %3A and / as %2F"


def check_http_url(value: str) -> str:
    """Return the URL without a slash at its end; raise `ValueError` that shows nothing of it."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
        parts = urlsplit("")
    if not whole or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError("must be an http:// or https:// URL, such as https://host:8080/path")
    userinfo = parts.netloc.rpartition("@")[0]
    if "@" in userinfo or ":" in userinfo.partition(":")[2]:
        raise ValueError(f"must have its user name and password percent-encoded: {_ESCAPED}")
    return value.rstrip("/")


def host_of(url: str) -> str:
    """Return the host of a URL, the only part of its authority that may be shown."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def check_database_url(value: str) -> str:
    """Return the URL of the ledger; raise `ValueError` that gives the right form and shows nothing of it."""
    scheme, separator, rest = value.partition("://")
    if separator and value.isprintable() and scheme in _SQLITE:
        _check_sqlite(value, rest)
    elif separator and value.isprintable() and scheme in _POSTGRESQL:
        _check_postgresql(value, rest)
    else:
        raise ValueError(f"must be postgresql://user:password@host/database, or {_SLASHES}")
    return value


def _check_sqlite(value: str, rest: str) -> None:
    path = rest.partition("?")[0]
    file = path[1:]
    if not path.startswith("/") and path:
        raise ValueError(f"must have three or four slashes: {_SLASHES}")
    if file in {"", ":memory:"} or file.endswith("/") or file.startswith("file:"):
        raise ValueError(f"must name a file by its path: {_SLASHES}")
    if file.startswith("~"):
        raise ValueError(
            "must give the whole path, because ~ is not expanded: sqlite:////home/name/ledger.db"
        )
    try:
        SQLiteDialect_pysqlite().create_connect_args(make_url(value))
    except (ArgumentError, ValueError):
        raise ValueError("must have no query that SQLite cannot use: remove what follows the ?") from None


def _check_postgresql(value: str, rest: str) -> None:
    userinfo, at, _ = rest.rpartition("@")
    if at and re.search(r"[@:/]", userinfo.partition(":")[2]):
        raise ValueError(f"must have its user name and password percent-encoded: {_ESCAPED}")
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        url = None
    if url is None or not url.database or not re.fullmatch(r"[\w.,:%-]*", url.host or ""):
        raise ValueError(f"must be postgresql://user:password@host/database; in the password {_ESCAPED}")


def shown_database(database_url: str | URL) -> str:
    """Return the public part of the ledger's URL: scheme, host, and database or file."""
    url = make_url(database_url)
    return URL.create(url.get_backend_name(), host=url.host, database=url.database).render_as_string()


def passwords_in(database_url: str) -> list[str]:
    """Return every password of the ledger's URL, decoded and as it stands there."""
    url = make_url(database_url)
    in_query = [url.query.get(name) for name in ("password", "sslpassword")]
    written = database_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return [password for password in (url.password, written, *in_query) if isinstance(password, str)]
