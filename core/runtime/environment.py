"""Clean and check the environment variables that libraries read, before they read them."""

import logging
import os
import re
import ssl
from collections.abc import Collection, Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from core.domain import SettingsError
from core.runtime.urls import check_http_url, host_of

_READ_BY_LIBRARIES = re.compile(
    r"(AWS|GOOGLE|PREFECT|SSL)_\w+|SSLKEYLOGFILE|(ALL|HTTP|HTTPS|NO)_PROXY|(REQUESTS|CURL)_CA_BUNDLE"
    r"|STORAGE_EMULATOR_HOST|S3FS_LOGGING_LEVEL|GCSFS_DEBUG|PG(HOST|PORT|USER|PASSWORD|PASSFILE|DATABASE|SERVICE|SSL[A-Z]+)"
)
_ADDRESS = re.compile(r"STORAGE_EMULATOR_HOST|AWS_EC2_METADATA_SERVICE_ENDPOINT|AWS_ENDPOINT_URL(_S3|_STS)?")
_METADATA = ("http://169.254.169.254", "http://169.254.170.2")
"""Where AWS and Google serve the credentials of a machine or a task."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_networks: set[IPv4Network | IPv6Network] = set()
"""The networks of `NO_PROXY`. `prepare_libraries` removes those of IPv6 from it: httpx fails on them."""


def clean_variables(settings: Collection[str] = ()) -> None:
    """Strip blanks and newlines around each variable that libraries read, and around these settings.

    Removes empty variables, except those that override a profile of Prefect or another proxy. Raises
    `SettingsError` for a value in quotes: none of them needs quotes, and `docker --env-file`, unlike a shell,
    keeps them.
    """
    for name, value in [*os.environ.items()]:
        upper = name.upper()
        if upper not in settings and not _READ_BY_LIBRARIES.fullmatch(upper):
            continue
        bare = value.strip()
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
            raise SettingsError(f"{name}: the value is in quotes; remove them (docker --env-file keeps them)")
        overrides = upper.endswith("_PROXY") or (upper.startswith("PREFECT_") and upper != "PREFECT_PROFILE")
        if not bare and not overrides:
            # Libraries would look for a profile, certificates or a level without a name.
            del os.environ[name]
        else:
            _write(name, bare)


def prepare_libraries(urls: Iterable[str] = ()) -> None:
    """Check the variables that libraries read, and make each library understand proxies the same way.

    `urls` are addresses that this process will call. Raises `SettingsError` that names the variable.
    """
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "SSLKEYLOGFILE"):
        if path := os.environ.get(name):
            check_certificates(name, path)
    for name in ("GCSFS_DEBUG", "S3FS_LOGGING_LEVEL"):
        # With another value, the import of the library would fail.
        if name in os.environ and os.environ[name] not in logging.getLevelNamesMapping():
            raise SettingsError(f"{name}: must be DEBUG, INFO, WARNING, ERROR or CRITICAL, or unset")
    for name, value in os.environ.items():
        if _ADDRESS.fullmatch(name):
            _check_address(name, _with_scheme(value) if name == "STORAGE_EMULATOR_HOST" else value)
    _prepare_proxies(urls)


def check_certificates(name: str, path: str) -> None:
    """Raise `SettingsError` unless TLS can use `path`, the value of `name`: certificates, or a key log."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if name == "SSLKEYLOGFILE":
            context.keylog_filename = path
        elif name not in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} or not Path(path).is_dir():
            context.load_verify_locations(cafile=path)
    except OSError as error:
        reason = "no PEM certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{name}: {path} cannot be used ({reason}); correct or unset it") from None


def _check_address(name: str, address: str, also: str = "") -> None:
    try:
        check_http_url(address)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}{also}") from None


def _prepare_proxies(urls: Iterable[str]) -> None:
    """Check and rewrite the proxy variables.

    Loopback is always in `NO_PROXY`. Libraries ignore networks such as 10.0.0.0/8, or fail on them: so the
    hosts of `urls` in such a network are added by name.
    """
    proxies = getproxies_environment()
    entries = re.findall(r"[^\s,]+", proxies.pop("no", ""))
    if "*" in entries:
        direct = ["*"]
    else:
        for name, value in os.environ.items():
            if value and name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
                _check_address(name, _with_scheme(value), also="; a SOCKS proxy is not supported")
        for scheme in ("http", "https"):
            # The stores' libraries do not read ALL_PROXY, and gcsfs wants a scheme.
            if proxy := proxies.get(scheme) or proxies.get("all"):
                _write(f"{scheme}_proxy", _with_scheme(proxy))
        direct = _direct_hosts(entries, urls)
    # Also without a proxy: on macOS, libraries would use those of the system's settings, also for loopback.
    # The spelling in lower case wins.
    _write("no_proxy", ",".join(dict.fromkeys(direct)))


def _direct_hosts(entries: Iterable[str], urls: Iterable[str]) -> list[str]:
    """Return loopback, the entries that every library can read, and the known hosts in the networks."""
    parsed = [_parse_entry(entry) for entry in entries]
    _networks.update(entry for entry in parsed if not isinstance(entry, str))
    readable = [str(entry) for entry in parsed if not isinstance(entry, IPv6Network)]
    given = (os.environ[name] for name in os.environ if name == "PREFECT_API_URL" or _ADDRESS.fullmatch(name))
    known = filter(None, (*urls, *given, *_METADATA))
    return [*readable, *_LOOPBACK, *filter(is_direct, map(host_of, map(_with_scheme, known)))]


def _parse_entry(entry: str) -> str | IPv4Network | IPv6Network:
    """Return a host name (for a domain, too) or an address as every library reads it, or a network."""
    bare = entry.rpartition("://")[2].rstrip("/").lstrip("*.")
    with suppress(ValueError):
        return ip_network(bare, strict=False) if "/" in bare else str(ip_address(bare))
    try:
        # Not every library reads a port.
        parts = urlsplit(f"//{bare}")
        host = (parts.hostname or "").encode("idna").decode() if parts.port != 0 and not parts.path else ""
    except ValueError:
        host = ""
    if not re.fullmatch(r"[\w.:-]+", host):
        raise SettingsError("NO_PROXY: an entry is no host name, address or network; separate them by commas")
    return host


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"http://{address}"


def is_direct(host: str) -> bool:
    """Return whether `host` is a loopback address or in a network of `NO_PROXY`."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in _networks)


def _write(name: str, value: str) -> None:
    # Only if needed, because other threads may be reading the environment.
    if os.environ.get(name) != value:
        os.environ[name] = value
