"""The common part of the object stores: requests with a deadline, and failures as errors of this project."""

import asyncio
import logging
import weakref
from abc import abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fsspec.asyn import get_loop

from core.domain import RiskAlertsError, SourceForbidden, SourceNotFound
from core.runtime import Settings, is_direct
from core.sources.folder import METADATA, data_names, delta_logs
from core.sources.location import Location
from core.sources.refusals import error_for
from core.sources.source import Bytes, Range, Source, SourceFile
from core.sources.workers import wait_for

# These libraries also raise what they log, and their logs show secrets.
for _name in ("aiobotocore", "botocore", "gcsfs", "google", "s3fs", "urllib3"):
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.CRITICAL)


class RemoteSource(Source):
    """A source in an object store, over the store's fsspec file system.

    It awaits private coroutines of the file systems, because the public methods have no deadline.
    """

    requests = 48

    def __init__(self, location: Location, settings: Settings, file_system: Any) -> None:
        self._provider = location.scheme
        self._settings = settings
        self._fs = file_system
        # Reference cycles keep a file system alive until the garbage collector runs, in any thread. The
        # library would then close its connections in the event loop of that thread.
        weakref.finalize(self, _close_soon, file_system).atexit = False
        # Load the credentials first, so that their errors are not mistaken for those of the store.
        self._call(f"{location.scheme}://", self._connect())
        super().__init__(location, settings)

    @abstractmethod
    async def _connect(self) -> None:
        """Load the credentials."""

    @abstractmethod
    async def _read_range(self, file: SourceFile, start: int, end: int) -> bytes:
        """Read a range of that version of the object, with one request and its retries."""

    @abstractmethod
    def _file(self, info: dict[str, Any], path: str) -> SourceFile:
        """Return the object with its version."""

    def _find(self, location: Location) -> list[SourceFile]:
        path = location.path
        if location.pattern is not None:
            found = self._children(path)
            if (metadata := f"{path}/{METADATA}") in found:
                found |= self._children_if_allowed(metadata)
        else:
            if "/" in path and not location.uri.endswith("/"):
                info = self._call(location.uri, self._fs._info(path))
                if info["type"] == "file":
                    return [self._file(info, path.rsplit("/", 1)[-1])]
            found = self._call(location.uri, self._fs._find(path, detail=True))
        inside = {
            name.removeprefix(f"{path}/") + ("" if info["type"] == "file" else "/"): info
            for name, info in found.items()
            if name.startswith(f"{path}/")
        }
        names = data_names(location, [*inside, *filter(self._children_if_allowed, delta_logs(path))])
        return [self._file(inside[name], name) for name in names]

    def _children(self, path: str) -> dict[str, dict[str, Any]]:
        return {child["name"]: child for child in self._call(self.uri, self._fs._ls(path, detail=True))}

    def _children_if_allowed(self, path: str) -> dict[str, dict[str, Any]]:
        # The credentials may allow only the data of the source.
        with suppress(SourceForbidden, SourceNotFound):
            return self._children(path)
        return {}

    def _read(self, file: SourceFile, ranges: Sequence[Range]) -> list[Bytes]:
        async def side_by_side() -> list[Bytes]:
            return await asyncio.gather(*(self._read_range(file, start, end) for start, end in ranges))

        parts: list[Bytes] = self._call(file.path, side_by_side())
        return parts

    def _call(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of `coroutine` within `SOURCE_TIMEOUT_SECONDS`; translate its errors."""
        answer = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
        try:
            return wait_for(answer, what, self._settings.source_timeout_seconds)
        except RiskAlertsError:
            raise
        except Exception as error:  # noqa: BLE001 - libraries raise their own, their HTTP client's and OSError
            # `from None`: the text may hold a token, and Prefect's database keeps every chained exception.
            raise error_for(error, self._provider, what) from None


def _close_soon(file_system: Any) -> None:
    # The connections of gcsfs, or those of s3fs; None before the first request.
    if opened := getattr(file_system, "_session", None) or getattr(file_system, "_s3", None):
        asyncio.run_coroutine_threadsafe(opened.close(), get_loop())


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for `url`; None for loopback and hosts or networks of `NO_PROXY`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if is_direct(host) or proxy_bypass(host) else getproxies().get(parts.scheme)
