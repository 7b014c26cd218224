"""`s3://`: Amazon S3, or whatever speaks its language."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

# s3fs retries a broken body only inside its own `_cat_file`, which can't pin the ETag; hence its wrapper.
from s3fs.core import S3FileSystem, _error_wrapper

from core.errors import SourceForbidden
from core.settings import Settings
from core.storage.location import Location
from core.storage.remote import RemoteStore
from core.storage.source import Listing, StoredFile


class _Session(AIOHTTPSession):  # type: ignore[misc]  # it ships no types
    """Hands a redirect to botocore, as its own session does; that knows S3's regions and nowhere else."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        return SimpleNamespace(request=partial(session.request, allow_redirects=False))


class S3Store(RemoteStore):
    """One connection to S3; objects are pinned by their ETag."""

    def __init__(self, settings: Settings) -> None:
        file_system = S3FileSystem(
            anon=settings.s3_anon,
            endpoint_url=settings.s3_endpoint_url,
            config_kwargs={"http_session_cls": _Session},
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        super().__init__(file_system, settings)

    def find(self, location: Location) -> Listing:
        """See `Store`; a refusal is asked for its reason, for which the answer to a HEAD has no room."""
        try:
            return super().find(location)
        except SourceForbidden:
            bucket, _, key = location.path.partition("/")
            self._call(
                location.uri,
                self._fs._call_s3,  # noqa: SLF001
                "list_objects_v2",
                Bucket=bucket,
                Prefix=key,
                MaxKeys=1,
            )
            raise

    async def _read_range(self, file: StoredFile, start: int, end: int) -> bytes:
        bucket, _, key = file.key.partition("/")

        async def get() -> bytes:
            response = await self._fs._call_s3(  # noqa: SLF001
                "get_object", Bucket=bucket, Key=key, IfMatch=file.pin, Range=f"bytes={start}-{end - 1}"
            )
            async with response["Body"] as body:
                data: bytes = await body.read()
                return data

        data: bytes = await _error_wrapper(get, retries=self._fs.retries)
        return data

    def _stored(self, info: dict[str, Any], path: str) -> StoredFile:
        version, etag = info.get("VersionId"), info["ETag"]
        # A bucket without versioning says "null", and a listing says nothing at all.
        shown = f"version:{version}" if version and version != "null" else f"etag:{etag.strip(chr(34))}"
        return StoredFile(path, info["name"], int(info["size"]), shown, pin=etag)
