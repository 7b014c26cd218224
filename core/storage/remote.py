"""What the two clouds share: requests with a deadline, and their failures under our own names."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from botocore import exceptions as boto

from core.errors import (
    RiskAlertsError,
    SourceChanged,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from core.redaction import redact
from core.settings import Settings
from core.stopping import wait_for
from core.storage.location import Location
from core.storage.refusals import explain
from core.storage.source import Bytes, Listing, Range, StoredFile

# Their texts say which host could not be reached, and nothing more.
CONNECTION_ERRORS = (aiohttp.ClientConnectorError, boto.EndpointConnectionError)

NOT_FOUND = 404
PRECONDITION_FAILED = 412
REPLACED = "was replaced while the source was read"


class RemoteStore(ABC):
    """What GCS and S3 have in common, over their fsspec file systems."""

    requests = 8

    def __init__(self, file_system: Any, settings: Settings, **find_options: Any) -> None:
        self._fs = file_system
        self._timeout = settings.source_timeout_seconds
        self._find_options = find_options

    def find(self, location: Location) -> Listing:
        """See `Store`."""
        path = location.path
        if "/" in path and not location.wants_folder:
            info = self._call(location.uri, self._fs._info, path)  # noqa: SLF001 - the public one has no deadline
            if info["type"] == "file":
                return Listing(is_folder=False, files=(self._stored(info, path.rsplit("/", 1)[-1]),))
        found = self._call(location.uri, self._fs._find, path, detail=True, **self._find_options)  # noqa: SLF001
        root = f"{path}/"
        objects = [info for name, info in found.items() if name.startswith(root) and info["type"] == "file"]
        if not objects:
            raise SourceNotFound(f"{location.uri}: nothing is there")
        files = tuple(self._stored(info, info["name"].removeprefix(root)) for info in objects)
        return Listing(is_folder=True, files=files)

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
        return call(self._fs.loop, self._timeout, what, function, *args, **kwargs)

    @abstractmethod
    async def _read_range(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read a range of that version of the object with one request, and what retries it takes."""

    @abstractmethod
    def _stored(self, info: dict[str, Any], path: str) -> StoredFile:
        """Say which version of the object this is."""


def call(
    loop: Any, timeout: float, what: str, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
) -> Any:
    """Run `function` of a cloud's library on its event `loop`, for `timeout` seconds, its retries included.

    Raises one of the `SourceError`s, about `what`, or `Interrupted`. The library's own error is not chained
    to it: its text may hold a token, and every exception is kept in Prefect's database.
    """
    answer = asyncio.run_coroutine_threadsafe(_awaited(function, *args, **kwargs), loop)
    try:
        return wait_for(answer, timeout)
    except RiskAlertsError:
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise their own, their HTTP client's and OSError
        if answer.cancelled():
            raise SourceUnreachable(f"{what}: no answer in {timeout:g} s (SOURCE_TIMEOUT_SECONDS)") from None
        raise _named(what, error) from None


async def _awaited(function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    return await function(*args, **kwargs)


def status_of(error: BaseException) -> int | None:
    """Find the HTTP status behind a cloud library's error, if there is one."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
        code = getattr(candidate, "code", getattr(candidate, "status", None))
        if code is not None and str(code).isdigit():
            return int(code)
    return None


def _code_of(error: BaseException) -> str | None:
    """Find the code of S3's error document behind an error; to a HEAD it is the status."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
    return None


def _named(what: str, error: Exception) -> SourceError:
    status, code = status_of(error), _code_of(error)
    if code == "NoSuchBucket":
        return SourceNotFound(f"{what}: no such bucket")
    if isinstance(error, FileNotFoundError) or status == NOT_FOUND:
        return SourceNotFound(f"{what}: no such object, folder or bucket")
    if status == PRECONDITION_FAILED:
        return SourceChanged(f"{what} {REPLACED}")
    if refused := explain(error, status, code):
        return SourceForbidden(f"{what}: {refused}")
    reason = f"HTTP {status}" if status else type(error).__name__
    if isinstance(error, CONNECTION_ERRORS):
        reason = redact(str(error))
    return SourceUnreachable(f"{what}: the store can't be reached or is in trouble ({reason})")
