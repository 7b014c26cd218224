"""`gs://`: Google Cloud Storage, or an emulator of it."""

import asyncio
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSSLError

# Not `gcsfs.GCSFileSystem`: since 2026.8, it asks for the kind of a bucket by gRPC, and each call hangs for a
# minute where only HTTP gets through (emulators, many firewalls).
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth import compute_engine
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.oauth2.credentials import Credentials

from core.domain import SourceForbidden, SourceInvalid, SourceUnreachable
from core.runtime import Settings, in_thread
from core.sources.location import Location
from core.sources.refusals import ENCODED, Refused, error_for
from core.sources.remote import RemoteSource, proxy_for
from core.sources.source import SourceFile

# The library warns about a developer's personal credentials.
warnings.filterwarnings("ignore", module=r"google\.auth")

_ACCESS_TOKEN = re.compile(r"[\w+=-][\w.~+/=-]*(?<!\.json)", re.ASCII)


class GcsSource(RemoteSource):
    """Objects of Cloud Storage, pinned by their generation."""

    def __init__(self, location: Location, settings: Settings) -> None:
        # Without credentials, this makes no request. It reads STORAGE_EMULATOR_HOST.
        file_system = GCSFileSystem(
            token="anon",  # noqa: S106 - the word for no token
            endpoint_url=settings.gcs_endpoint_url,
            requester_pays=settings.gcs_user_project,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        file_system.session_kwargs = {"middlewares": (_refuse,), "proxy": proxy_for(file_system.base)}
        super().__init__(location, settings, file_system)

    async def _connect(self) -> None:
        # Never send Google's credentials to another host, unless GCS_TOKEN is set.
        if self._settings.gcs_token or self._fs.on_google:
            # In a thread, because the request for credentials blocks.
            await asyncio.wrap_future(in_thread(self._log_in, "google"))

    def _log_in(self) -> None:
        """Load the credentials and request a token, so that a refusal is not mistaken for the store's."""
        credentials = self._fs.credentials
        try:
            credentials.connect(_token(self._settings))
        except (AttributeError, LookupError, TypeError, ValueError):
            # Google's library raises these for a malformed key file.
            raise DefaultCredentialsError from None
        try:
            credentials.maybe_refresh()
        except HttpError as error:
            # Other errors may be temporary: the first request retries them. gcsfs would also retry this one.
            if isinstance(error.__cause__, RefreshError) and not error.__cause__.retryable:
                raise error.__cause__ from None

    async def _read_range(self, file: SourceFile, start: int, end: int) -> bytes:
        return bytes(await self._fs._cat_file(file.key, start=start, end=end, generation=file.pin))

    def _file(self, info: dict[str, Any], path: str) -> SourceFile:
        generation = str(info["generation"])
        return SourceFile(path, info["name"], int(info["size"]), f"generation:{generation}", generation)


async def _refuse(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Raise the error for a refusal at once: gcsfs drops the code, and may retry for half a minute."""
    try:
        response = await handler(request)
    except ClientSSLError as error:
        raise error_for(error, "gs", "gs://") from None
    headers = response.headers
    if "Location" in headers:
        # aiohttp would follow a redirect to any host.
        raise SourceUnreachable(
            f"{request.url.host} redirects to another address, which is not followed: check GCS_ENDPOINT_URL"
        )
    # gcsfs knows what 404 means, and retries 408 and 429.
    if 400 <= response.status < 500 and response.status not in {404, 408, 429}:  # noqa: PLR2004
        text = (await response.read()).decode("utf-8", "replace")
        raise Refused(response.status, re.findall(r'"reason":\s*"(\w+)"', text), text)
    encodings = {headers.get("Content-Encoding"), headers.get("X-Goog-Stored-Content-Encoding")}
    if request.url.query.get("alt") == "media" and "gzip" in encodings:
        raise SourceInvalid(f"{request.url.path.rpartition('/o/')[2]}: {ENCODED}")
    return response


def _token(settings: Settings) -> Any:
    """Return the `token` for gcsfs: a method, credentials, a key, or None for Google's own search."""
    if settings.gcs_token is None:
        # By default, gcsfs continues without credentials if it cannot use the file.
        return "google_default" if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") else None
    token = settings.gcs_token.get_secret_value()
    if token in {"anon", "google_default"}:
        return token
    if token == "cloud":  # noqa: S105
        return compute_engine.Credentials()  # type: ignore[no-untyped-call]
    if _ACCESS_TOKEN.fullmatch(token) and not os.path.exists(token):  # noqa: PTH110 - a token may be too long
        # From the bare text, gcsfs would first ask a service of Google when the token expires.
        return Credentials(token)  # type: ignore[no-untyped-call]
    try:
        return dict(json.loads(token if token.startswith("{") else Path(token).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON object"
        raise SourceForbidden(
            f"gs://: GCS_TOKEN cannot be used ({reason}): set it to anon, cloud, google_default, an access"
            " token, a key file or its JSON"
        ) from None
