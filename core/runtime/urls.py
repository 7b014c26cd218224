"""Checks of settings that are URLs, and the part of a URL that may be shown."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_ESCAPED = "write @ as %40, : as %3A and / as %2F"
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///(?!~|file:|:memory:)[^?]*[^?/]")
_POSTGRESQL = re.compile(r"postgresql(\+psycopg)?://")


def check_http_url(value: str) -> str:
    """Return the URL; raise a `ValueError` that shows no part of it."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError("must be an http:// or https:// URL, such as https://host:8080/path")
    userinfo = parts.netloc.rpartition("@")[0]
    if "@" in userinfo or ":" in userinfo.partition(":")[2]:
        raise ValueError(f"must have its user name and password percent-encoded: {_ESCAPED}")
    return value


def host_of(url: str) -> str:
    """Return the host of a URL, the only part of its authority that may be shown."""
    with suppress(ValueError):
        return urlsplit(url).hostname or "?"
    return "?"


def check_database_url(value: str) -> str:
    """Return the URL of the ledger for SQLAlchemy; raise a `ValueError` with the right forms, not the URL."""
    # SQLAlchemy does not know the short name.
    url = re.sub("^postgres:", "postgresql:", value)
    with suppress(ArgumentError, ValueError):
        if url.isprintable() and (_SQLITE.fullmatch(url) or _is_postgresql(url)):
            return url
    raise ValueError(
        "must be sqlite:///data/risk_alerts.db for a path from the working directory,"
        " sqlite:////data/risk_alerts.db for an absolute one (~ is not expanded: sqlite:////home/name/x.db),"
        f" or postgresql://user:password@host/database; in the password {_ESCAPED}"
    )


def _is_postgresql(value: str) -> bool:
    if not _POSTGRESQL.match(value):
        return False
    url = make_url(value)
    # Raises an `ArgumentError` for ports that are no numbers or do not fit the hosts.
    url.get_dialect()().create_connect_args(url)
    # An unescaped @, : or / in the password would make the rest of it the host or the database.
    escaped = re.fullmatch(r"[\w.,:%-]*", url.host or "") and not re.search("[@:/]", _raw_password(value))
    return bool(url.database and escaped)


def shown_database(database_url: str | URL) -> str:
    """Return the public part of the ledger's URL: scheme, host, and database or file."""
    url = make_url(database_url)
    return URL.create(url.get_backend_name(), host=url.host, database=url.database).render_as_string()


def passwords_in(database_url: str) -> list[str]:
    """Return every password of the ledger's URL, decoded and as it stands there."""
    url = make_url(database_url)
    in_query = [url.query.get(name) for name in ("password", "sslpassword")]
    every = (url.password, _raw_password(database_url), *in_query)
    return [password for password in every if isinstance(password, str)]


def _raw_password(database_url: str) -> str:
    """Return the password as it stands in the URL."""
    return database_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
