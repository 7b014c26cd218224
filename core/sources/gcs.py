"""`gs://`: Google Cloud Storage, or an emulator of it."""

import json
import os
import re
import warnings
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

# On purpose not `gcsfs.GCSFileSystem`: since 2026.8 that is an extended one, which asks by gRPC what kind of
# bucket it is and hangs for a minute a call where only HTTP gets through (emulators, many firewalls).
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, MalformedError, RefreshError
from google.oauth2.credentials import Credentials

from core.domain import SettingsError, SourceForbidden
from core.runtime import Settings
from core.sources.refusals import refusal
from core.sources.remote import RemoteStore, call, in_daemon_thread, named, proxy_for
from core.sources.source import StoredFile

# The library warns about a developer's personal credentials.
warnings.filterwarnings("ignore", module=r"google\.auth")

KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"

_METHODS = {"anon", "cache", "cloud", "google_default"}
_MISSING = re.compile(r"[Ff]ile '?([^'\n]+?)'? was not found")
_TOKEN = re.compile(r"[\w.~+/=-]+", re.ASCII)
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_GCSFS_KNOWS = {HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED, *_RETRIED}


class GcsStore(RemoteStore):
    """One connection to Cloud Storage; objects are pinned by their generation."""

    provider = "gs"

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
    """Raise the error for a refusal at once: gcsfs drops its code and may retry it for half a minute.

    A redirect is refused too: aiohttp would follow it anywhere, with the credentials.
    """
    what = "gs:/" + _object_of(request)
    try:
        response = await handler(request)
    except aiohttp.ClientSSLError as error:
        raise named("gs", what, error) from None
    headers, words, text = response.headers, [], ""
    if "Location" in headers:
        words = ["elsewhere"]
    elif 400 <= response.status < 500 and response.status not in _GCSFS_KNOWS:  # noqa: PLR2004
        text = (await response.read()).decode("utf-8", "replace")
        words = [*_reasons(text), str(response.status)]
    elif request.url.query.get("alt") == "media" and "gzip" in {
        headers.get("Content-Encoding"),
        headers.get("X-Goog-Stored-Content-Encoding"),
    }:
        words = ["encoded"]
    if words and (refused := refusal("gs", what, words, text=text)):
        raise refused
    return response


def _object_of(request: aiohttp.ClientRequest) -> str:
    """Return `/bucket/key` of a request to the JSON API, as a message shows it."""
    found = re.search(r"/b/([^/]+)(?:/o/(.+))?", request.url.path)
    return "/" + "/".join(part for part in found.groups() if part) if found else "/"


def _reasons(body: str) -> list[str]:
    """Return the reasons in an error document of the JSON API, with a small first letter: the case varies."""
    try:
        errors = json.loads(body)["error"]["errors"]
        reasons = [str(error["reason"]) for error in errors]
    except (ValueError, KeyError, TypeError):
        return []
    return [reason[:1].lower() + reason[1:] for reason in reasons]


def _connect(settings: Settings) -> Any:
    options: dict[str, Any] = {
        "endpoint_url": settings.gcs_endpoint_url,
        "requester_pays": settings.gcs_user_project or False,
        "skip_instance_cache": True,
        "use_listings_cache": False,
    }
    # Without credentials it makes no request, and it knows where STORAGE_EMULATOR_HOST leads.
    anonymous = GCSFileSystem(token="anon", **options)  # noqa: S106 - the word for no token
    if not urlsplit(anonymous.base).hostname:
        raise SettingsError("STORAGE_EMULATOR_HOST is not a URL: write http://host:port")
    session = {"middlewares": (_refuse,), "proxy": proxy_for(anonymous.base)}
    options["session_kwargs"] = anonymous.session_kwargs = session
    token = _token(settings)
    if token == "anon" or (token is None and not anonymous.on_google):  # noqa: S105
        # Google's credentials go to no other host unless GCS_TOKEN says so.
        return anonymous
    # Asking for credentials may use the network, and blocks.
    return call(
        "gs", settings.source_timeout_seconds, "gs://", in_daemon_thread, _with_credentials, token, options
    )


def _with_credentials(token: Any, options: dict[str, Any]) -> Any:
    try:
        file_system = GCSFileSystem(token=token, **options)
        try:
            file_system.credentials.maybe_refresh()
        except (GoogleAuthError, HttpError) as error:
            # The first request retries what may pass; gcsfs would also retry what cannot.
            refused = error.__cause__ or error
            if isinstance(refused, RefreshError) and not refused.retryable:
                raise refused from None
    except (GoogleAuthError, ValueError, KeyError, AttributeError, TypeError) as error:
        if explained := _unusable(token, error):
            raise SourceForbidden(f"gs://: {explained}") from None
        raise
    return file_system


def _unusable(token: Any, error: Exception) -> str | None:
    """Return which setting or file makes the credentials fail, if the error shows it."""
    path = os.environ.get(KEY_VARIABLE)
    # The file of a workload identity federation names another one, which holds the token.
    if isinstance(error, RefreshError) and (missing := _MISSING.search(str(error))):
        return f"the Google credentials need {missing[1]}, which is missing: check what {KEY_VARIABLE} says"
    if isinstance(error, DefaultCredentialsError) and path:
        state = "holds no Google credentials" if Path(path).is_file() else "is not a file"
        return f"{KEY_VARIABLE}: {path} {state}: set it to a key file, or unset it"
    if isinstance(error, GoogleAuthError) and not isinstance(error, MalformedError):
        return None
    if token == "cloud":  # noqa: S105
        return "the metadata server gives no credentials: run on Google Cloud, or set GCS_TOKEN to a key file"
    return (
        "GCS_TOKEN holds no credentials that can be used: give the key of a service account or user; for any"
        f" other kind set {KEY_VARIABLE}"
    )


def _token(settings: Settings) -> Any:
    """Return what gcsfs takes as a token, or None for Google's own chain of credentials.

    Raise `SourceForbidden` for what gcsfs would send to Google as an access token although it is none.
    """
    if settings.gcs_token is None:
        # Google's chain would go on without credentials if the file could not be used.
        return "google_default" if os.environ.get(KEY_VARIABLE) else None
    token = settings.gcs_token.get_secret_value()
    if token in _METHODS:
        return token
    text = token
    if not token.lstrip().startswith("{"):
        path = Path(token)
        if token.startswith(("/", ".", "~")) or token.endswith(".json") or _exists(path):
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise SourceForbidden(
                    f"gs://: GCS_TOKEN names a file that cannot be read ({reason}): correct the path"
                ) from None
        elif _TOKEN.fullmatch(token):
            # gcsfs would first send it to a service of Google's that says when it expires.
            return Credentials(token)  # type: ignore[no-untyped-call]
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise SourceForbidden(
            "gs://: GCS_TOKEN must be anon, cloud, google_default, a key file, its JSON or an access token"
        )
    return key


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # An access token may be longer than a file's name may be.
        return False
