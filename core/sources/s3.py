"""`s3://`: Amazon S3, or a store with its API."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession

# s3fs retries a broken body only in its own `_cat_file`, which cannot pin the ETag, so use its wrapper here.
from s3fs.core import S3FileSystem, _error_wrapper

from core import __version__
from core.domain import SourceForbidden, SourceInvalid, SourceNotFound
from core.runtime import Settings, check_certificates
from core.sources.location import Location
from core.sources.refusals import ENCODED
from core.sources.remote import RemoteSource, proxy_for
from core.sources.source import SourceFile

_NOT_ENCODED = {"", "identity", "aws-chunked"}
"""Values of `Content-Encoding` that S3 clients write although the stored bytes are not encoded."""


class _Session(AIOHTTPSession):  # type: ignore[misc]  # it ships no types
    """Leave redirects to botocore, which follows them only to the regions of S3."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)

        def request(method: str, *, url: Any, proxy: str | None, **options: Any) -> Any:
            # botocore does not find an IPv6 address in NO_PROXY.
            proxy = proxy if proxy_for(str(url)) else None
            return session.request(method, url=url, proxy=proxy, allow_redirects=False, **options)

        return SimpleNamespace(request=request)


class S3Source(RemoteSource):
    """Objects of S3, pinned by their ETag."""

    def __init__(self, location: Location, settings: Settings) -> None:
        session = AioSession()
        # No date in an answer is used, and parsing them takes a tenth of the time of a request.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
        options = {
            "http_session_cls": _Session,
            # botocore opens ten connections by default; a read of one file may use two.
            "max_pool_connections": 2 * self.requests,
            # botocore would compose its own for each request.
            "user_agent": f"account-risk-alerts/{__version__}",
        }
        file_system = S3FileSystem(
            anon=settings.s3_anon,
            endpoint_url=settings.s3_endpoint_url,
            requester_pays=settings.s3_requester_pays,
            config_kwargs=options,
            session=session,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        super().__init__(location, settings, file_system)

    async def _connect(self) -> None:
        session = self._fs.session
        if not self._fs.anon and (found := await session.get_credentials()):
            await found.get_frozen_credentials()
        await self._fs.set_session()
        if bundle := session.get_config_variable("ca_bundle"):
            # aiobotocore would retry for a long time if it cannot load the bundle.
            check_certificates("AWS_CA_BUNDLE, or ca_bundle in the AWS profile", bundle)

    def _find(self, location: Location) -> list[SourceFile]:
        try:
            return super()._find(location)
        except SourceForbidden:
            bucket, _, key = location.path.partition("/")
            if key:
                # The answer to HEAD has no reason for a refusal; the answer to GET has one. If there is no
                # object, the store has refused the listing.
                get = self._fs._call_s3("get_object", Bucket=bucket, Key=key, Range="bytes=0-0")
                with suppress(SourceNotFound):
                    self._call(location.uri, get)
            raise

    async def _read_range(self, file: SourceFile, start: int, end: int) -> bytes:
        bucket, _, key = file.key.partition("/")
        options = {"Bucket": bucket, "Key": key, "IfMatch": file.pin, "Range": f"bytes={start}-{end - 1}"}

        async def get() -> tuple[bytes, str]:
            response = await self._fs._call_s3("get_object", **options)
            async with response["Body"] as body:
                return await body.read(), response.get("ContentEncoding", "")

        data, encoding = await _error_wrapper(get, retries=self._fs.retries)
        # Some tools set the header although the object is plain Parquet, so look at its last bytes.
        if encoding not in _NOT_ENCODED and end == file.size and not data.endswith(b"PAR1"):
            raise SourceInvalid(f"{file.path}: {ENCODED}")
        return bytes(data)

    def _file(self, info: dict[str, Any], path: str) -> SourceFile:
        version, etag = info.get("VersionId"), info["ETag"]
        # A bucket without versioning gives the version "null", and a listing gives no version.
        shown = f"version:{version}" if version and version != "null" else f"etag:{etag.strip(chr(34))}"
        return SourceFile(path, info["name"], int(info["size"]), shown, etag)
