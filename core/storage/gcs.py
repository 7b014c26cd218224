"""`gs://`: Google Cloud Storage, or an emulator of it."""

import asyncio
from http import HTTPStatus
from typing import Any

import aiohttp

# On purpose not `gcsfs.GCSFileSystem`: since 2026.8 that is an extended one, which asks by gRPC what kind of
# bucket it is and hangs for a minute a call where only HTTP gets through (emulators, many firewalls).
from fsspec.asyn import get_loop
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError, RefreshError

from core.errors import SourceForbidden, SourceUnreachable
from core.settings import Settings
from core.storage.refusals import explain
from core.storage.remote import RemoteStore, call
from core.storage.source import StoredFile


class GcsStore(RemoteStore):
    """One connection to Cloud Storage; objects are pinned by their generation."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(_connect(settings), settings, update_cache=False)

    async def _read_range(self, file: StoredFile, start: int, end: int) -> bytes:
        data: bytes = await self._fs._cat_file(  # noqa: SLF001 - the public one has no deadline
            file.key, start=start, end=end, generation=file.pin
        )
        return data

    def _stored(self, info: dict[str, Any], path: str) -> StoredFile:
        generation = str(info["generation"])
        return StoredFile(path, info["name"], int(info["size"]), f"generation:{generation}", pin=generation)


async def _refuse(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse what would have aiohttp send the request, with its credentials, to wherever the answer says.

    And end at once what gcsfs would try for half a minute with the same token.
    """
    response = await handler(request)
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise SourceForbidden(f"gs://: {explain(SourceForbidden(''), response.status, None)}")
    if "Location" in response.headers:
        raise SourceUnreachable("gs://: the store wants to send us elsewhere, which it may not")
    return response


def _connect(settings: Settings) -> Any:
    token = settings.gcs_token.get_secret_value() if settings.gcs_token else None
    options = {
        "endpoint_url": settings.gcs_endpoint_url,
        "session_kwargs": {"middlewares": (_refuse,)},
        "skip_instance_cache": True,
        "use_listings_cache": False,
    }
    # Built without credentials this costs nothing, and tells where STORAGE_EMULATOR_HOST leads.
    anonymous = GCSFileSystem(token="anon", **options)  # noqa: S106 - the word for no token
    if token == "anon" or (token is None and not anonymous.on_google):  # noqa: S105
        # Google's credentials go to no other host unless GCS_TOKEN says so.
        return anonymous

    async def connect() -> Any:
        # It asks for credentials, maybe over the network, and blocks meanwhile.
        file_system = await asyncio.to_thread(GCSFileSystem, token=token, **options)
        try:
            await asyncio.to_thread(file_system.credentials.maybe_refresh)
        except (GoogleAuthError, HttpError) as error:
            # What may pass is tried again with the first request; gcsfs would try the rest again too.
            refused = error.__cause__ or error
            if isinstance(refused, RefreshError) and not refused.retryable:
                raise refused from None
        return file_system

    async def connect_or_refuse() -> Any:
        try:
            return await connect()
        except (ValueError, KeyError, AttributeError):  # What gcsfs makes of a token it can't use.
            raise SourceForbidden("gs://: the Google credentials (GCS_TOKEN) can't be used") from None

    return call(get_loop(), settings.source_timeout_seconds, "gs://", connect_or_refuse)
