"""`s3://`: Amazon S3, or a store with its API."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession

# s3fs retries a broken body only inside its own `_cat_file`, which cannot pin the ETag; we use its wrapper.
from s3fs.core import S3FileSystem, _error_wrapper

from core.domain import SourceForbidden, SourceInvalid
from core.runtime import Settings, check_certificates
from core.sources.location import Location
from core.sources.refusals import ENCODED
from core.sources.remote import RemoteStore, proxy_for
from core.sources.store import SourceFile

_NOT_ENCODED = {"", "identity", "aws-chunked"}
"""What clients of S3 write as `Content-Encoding` although the stored bytes are as they were sent."""


class _Session(AIOHTTPSession):  # type: ignore[misc]  # it ships no types
    """Leave redirects to botocore, which follows them only to the regions of S3."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)

        def request(method: str, *, url: Any, proxy: str | None, **options: Any) -> Any:
            # botocore does not find an IPv6 address in NO_PROXY.
            proxy = proxy and proxy_for(str(url)) and proxy
            return session.request(method, url=url, proxy=proxy, allow_redirects=False, **options)

        return SimpleNamespace(request=request)


class S3Store(RemoteStore):
    """One connection to S3; objects are pinned by their ETag."""

    def __init__(self, settings: Settings) -> None:
        session = AioSession()
        file_system = S3FileSystem(
            anon=settings.s3_anon,
            endpoint_url=settings.s3_endpoint_url,
            requester_pays=settings.s3_requester_pays,
            # botocore opens ten connections by default; a read of one file may use two.
            config_kwargs={"http_session_cls": _Session, "max_pool_connections": 2 * self.requests},
            session=session,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        super().__init__("s3", file_system, settings, connection="_s3")
        self._call("s3://", self._connect(session, anonymous=settings.s3_anon))
        if bundle := session.get_config_variable("ca_bundle"):
            # aiobotocore would retry for long with one that cannot be loaded.
            check_certificates("AWS_CA_BUNDLE, or ca_bundle in the AWS profile", bundle)

    async def _connect(self, session: Any, *, anonymous: bool) -> None:
        # First the credentials, so that their errors are not taken for the store's.
        try:
            if not anonymous and (found := await session.get_credentials()):
                await found.get_frozen_credentials()
        except Exception as error:
            if isinstance(error, OSError) or "credential_process" not in session.get_scoped_config():
                raise
            # Its output and its arguments are not shown: they may hold secrets.
            raise SourceForbidden(
                f"s3://: credential_process in the AWS profile {session.profile or 'default'} gave no"
                " credentials: run it by hand to see why, or correct it in AWS_CONFIG_FILE"
            ) from None
        await self._fs.set_session()

    def find(self, location: Location) -> list[SourceFile]:
        """List the files; after a refused HEAD, which has no reason, ask for it with a GET."""
        try:
            return super().find(location)
        except SourceForbidden:
            bucket, _, key = location.path.partition("/")
            if key and not location.uri.endswith("/"):
                self._call(location.uri, self._get(bucket, key, Range="bytes=0-0"))
            raise

    async def _get(self, bucket: str, key: str, **options: Any) -> tuple[bytes, str]:
        """Return the object's bytes and its `Content-Encoding`."""
        response = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **options)
        async with response["Body"] as body:
            return await body.read(), response.get("ContentEncoding", "")

    async def _read_range(self, file: SourceFile, start: int, end: int) -> bytes:
        bucket, _, key = file.key.partition("/")
        get = partial(self._get, bucket, key, IfMatch=file.pin, Range=f"bytes={start}-{end - 1}")
        data, encoding = await _error_wrapper(get, retries=self._fs.retries)
        # Some tools write the header on objects that are plain Parquet all the same.
        if encoding not in _NOT_ENCODED and end == file.size and not data.endswith(b"PAR1"):
            raise SourceInvalid(f"{file.path}: {ENCODED}")
        return bytes(data)

    def _file(self, info: dict[str, Any], path: str) -> SourceFile:
        version, etag = info.get("VersionId"), info["ETag"]
        # A bucket without versioning says "null", and a listing says nothing at all.
        shown = f"version:{version}" if version and version != "null" else f"etag:{etag.strip(chr(34))}"
        return SourceFile(path, info["name"], int(info["size"]), shown, etag)
