"""What the two clouds share: requests with a deadline, and failures as the project's own errors."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fsspec.asyn import get_loop

from core.domain import (
    RiskAlertsError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from core.runtime import Settings, in_thread, is_direct, wait_for
from core.sources.folder import data_names, delta_logs
from core.sources.location import Location
from core.sources.refusals import refusal
from core.sources.source import Bytes, Listing, Range, StoredFile

logger = logging.getLogger(__name__)

NOT_FOUND = 404
PRECONDITION_FAILED = 412
REPLACED = "was replaced while the source was read: run the month again"

# These log what they also raise, with tracebacks and secrets; the raised error becomes one line.
for _name in ("aiobotocore", "botocore", "gcsfs", "google", "s3fs", "urllib3"):
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.CRITICAL)


def _drop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log at debug level what asyncio would write to stderr about requests that have already failed."""
    logger.debug("An object store's library left behind: %s", context.get("message"))


class RemoteStore(ABC):
    """The common part of `GcsStore` and `S3Store`, over their fsspec file systems."""

    requests = 24
    provider: ClassVar[str]

    def __init__(self, file_system: Any, settings: Settings, **find_options: Any) -> None:
        self._fs = file_system
        self._timeout = settings.source_timeout_seconds
        self._find_options = find_options

    def find(self, location: Location) -> Listing:
        """See `Store`."""
        path = location.path
        if location.pattern is not None:
            children = self._call(location.uri, self._fs._ls, path, detail=True)  # noqa: SLF001
            return self._listing(location, {child["name"]: child for child in children})
        if "/" in path and not location.wants_folder:
            info = self._call(location.uri, self._fs._info, path)  # noqa: SLF001 - the public one has no deadline
            if info["type"] == "file":
                return Listing(is_folder=False, files=(self._stored(info, path.rsplit("/", 1)[-1]),))
        found = self._call(location.uri, self._fs._find, path, detail=True, **self._find_options)  # noqa: SLF001
        return self._listing(location, found)

    def _listing(self, location: Location, found: dict[str, dict[str, Any]]) -> Listing:
        """Return the data files among what was found in the folder of `location`."""
        root = f"{location.path}/"
        inside = {
            name.removeprefix(root) + ("" if info["type"] == "file" else "/"): info
            for name, info in found.items()
            if name.startswith(root)
        }
        if not inside:
            raise SourceNotFound(f"{location.uri}: no such object or folder: check source_uri")
        names = data_names(location, [*inside, *filter(self._is_folder, delta_logs(location.path))])
        return Listing(is_folder=True, files=tuple(self._stored(inside[name], name) for name in names))

    def _is_folder(self, path: str) -> bool:
        # Credentials may be for the folder of the source alone.
        with suppress(SourceForbidden, SourceNotFound):
            return bool(self._call(path, self._fs._ls, path.rstrip("/")))  # noqa: SLF001
        return False

    def read(self, file: StoredFile, ranges: Sequence[Range]) -> list[Bytes]:
        """See `Store`; each range has the whole `SOURCE_TIMEOUT_SECONDS`, as all are asked for at once."""

        async def side_by_side() -> list[bytes]:
            return await asyncio.gather(*(self._read_range(file, start, end) for start, end in ranges))

        try:
            parts: list[Bytes] = self._call(file.path, side_by_side)
        except SourceNotFound:
            raise SourceChanged(f"{file.path} {REPLACED}") from None
        return parts

    def _call(self, what: str, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        return call(self.provider, self._timeout, what, function, *args, **kwargs)

    @abstractmethod
    async def _read_range(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read a range of that version of the object, with one request and its retries."""

    @abstractmethod
    def _stored(self, info: dict[str, Any], path: str) -> StoredFile:
        """Return the object with its version."""


def call(
    provider: str,
    timeout: float,
    what: str,
    function: Callable[..., Awaitable[Any]],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run `function` of a provider's library on fsspec's event loop, for `timeout` seconds with its retries.

    Raise a `SourceError` or `SettingsError` about `what`, or `Interrupted`. The library's own error is not
    chained to it: its text may hold a token, and every exception is kept in Prefect's database.
    """
    loop = get_loop()
    loop.set_exception_handler(_drop)
    answer = asyncio.run_coroutine_threadsafe(_awaited(function, *args, **kwargs), loop)
    try:
        return wait_for(answer, timeout)
    except RiskAlertsError:
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise their own, their HTTP client's and OSError
        if answer.cancelled():
            raise SourceUnreachable(
                f"{what}: no answer in {timeout:g} s: check the network and the proxy, or raise"
                " SOURCE_TIMEOUT_SECONDS"
            ) from None
        raise named(provider, what, error) from None


async def _awaited(function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    return await function(*args, **kwargs)


async def in_daemon_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run `function` in a thread that does not keep the process from ending, as asyncio's own threads do."""
    return await asyncio.wrap_future(in_thread(lambda: function(*args), "store"))


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for `url`; None for loopback and hosts or networks of `NO_PROXY`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme)
    if not proxy or is_direct(host) or proxy_bypass(parts.netloc) or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def named(provider: str, what: str, error: Exception) -> RiskAlertsError:
    """Return the project's error for a library's `error`, about `what`."""
    if isinstance(error, OSError) and error.filename is not None:
        # The stores' own FileNotFoundError names no file.
        return SourceForbidden(
            f"{what}: the credentials need {error.filename}, which cannot be used ({error.strerror}):"
            " check the variable or profile that names it"
        )
    status, code, text = answer_of(error)
    if isinstance(error, FileNotFoundError) and status is None:
        status = NOT_FOUND
    if status == PRECONDITION_FAILED:
        return SourceChanged(f"{what} {REPLACED}")
    codes = [word for word in (code, str(status or "")) if word]
    kinds = [kind.__name__ for kind in type(error).__mro__]
    issuer = _issuer(error) or provider
    if found := refusal(issuer, what, codes, kinds, text=text or str(error), facts=_facts(error)):
        return found
    if status is None:
        logger.debug("%s: %s", what, type(error).__name__)
    answered = f"answers HTTP {status}" if status else "gives no answer that can be used"
    return SourceUnreachable(f"{what}: the store {answered}: run the month again later")


def answer_of(error: BaseException) -> tuple[int | None, str | None, str]:
    """Return the HTTP status behind a library's error, and the code and text of its error document."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            document = response.get("Error", {})
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status, document.get("Code"), str(document.get("Message", ""))
        status = getattr(candidate, "code", getattr(candidate, "status", None))
        if status is not None and str(status).isdigit():
            return int(status), None, ""
    return None, None, ""


def _issuer(error: BaseException) -> str | None:
    """Return `sts` when AWS's service of temporary credentials, not the store, has refused."""
    operations = (getattr(candidate, "operation_name", "") for candidate in (error, error.__cause__))
    return "sts" if any(str(name).startswith("AssumeRole") for name in operations) else None


def _facts(error: Any) -> dict[str, Any]:
    """Return what a message may show of a library's error: hosts, and names from a configuration file."""
    facts = dict(getattr(error, "kwargs", {}))
    url = urlsplit(str(facts.get("proxy_url") or facts.get("endpoint_url") or ""))
    host = url.netloc.rpartition("@")[2]
    if not host and getattr(error, "host", None):
        host = f"{error.host}:{error.port}"
    return facts | {"host": host or "the store"}
