"""Slack's incoming webhooks: one try to post one message, and what its answer means.

The verdicts are a table in two pure functions, `judge` and `judge_failure`; nothing else looks at a
status code of Slack's. It has no idempotency key, so what counts is whether a message can have been posted.
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from core.errors import SlackNotConfigured
from core.redaction import redact
from core.settings import Settings

BODY_MAX = 64 * 1024
"""Bytes of an answer's body that are read; Slack's own are a word or a small JSON object."""
ERROR_MAX = 300


class Verdict(StrEnum):
    """What an answer, or its absence, says about a message."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Surely not delivered; a later try may succeed."""
    REFUSED = "refused"
    """Surely not delivered, and this message never will be; the next one may."""
    CHANNEL_REFUSED = "channel_refused"
    """Surely not delivered, and the same goes for every message of the destination."""
    UNCONFIRMED = "unconfirmed"
    """May have been delivered: the request was out, and no usable answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, its reason and a line for a person (None when delivered), and the seconds asked to wait."""

    verdict: Verdict
    reason: str | None = None
    error: str | None = None
    retry_after: float | None = None


CHANNEL_WIDE_STATUSES = frozenset({401, 403, 404, 410})
CHANNEL_WIDE_WORDS = frozenset(
    {
        "account_inactive",
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_auth",
        "invalid_token",
        "is_archived",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "not_in_channel",
        "posting_to_general_channel_denied",
        "team_disabled",
        "token_revoked",
        "user_not_found",
    }
)
_WORD = re.compile(r"[a-z_]{3,64}")


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    body_complete: bool,  # noqa: FBT001
    now: datetime,
) -> Answer:
    """Say what an answer means: the status first, the words of the body second.

    `body` is what was read of it, `body_complete` whether that is all; `now` is aware, and only used to
    measure a `Retry-After` date when the answer has no date of its own.
    """
    said = _parse(body)
    word = _word(said, body)
    # Only Slack's own short word is repeated: a proxy's error page may quote the webhook's path, a secret.
    error = f"Slack answered {_title(status)}" + (f": {word}" if word else "")
    headers = httpx.Headers(headers)
    if 200 <= status < 300:  # noqa: PLR2004
        broke_off = not body_complete and _may_be_json(headers, body)
        return _judge_success(said, word, error, broke_off=broke_off)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Answer(Verdict.RETRY, "rate_limited", error, _retry_after(headers, now))
    if 500 <= status < 600:  # noqa: PLR2004
        return Answer(Verdict.RETRY, "server_error", error, _retry_after(headers, now))
    if 300 <= status < 400:  # noqa: PLR2004
        return Answer(Verdict.REFUSED, "redirected", f"{error}; redirects are not followed")
    if 400 <= status < 500:  # noqa: PLR2004
        channel_wide = status in CHANNEL_WIDE_STATUSES or word in CHANNEL_WIDE_WORDS
        return Answer(
            Verdict.CHANNEL_REFUSED if channel_wide else Verdict.REFUSED, word or "slack_refused", error
        )
    return Answer(Verdict.UNCONFIRMED, "no_answer", f"{error}, which is no answer to a message")


def judge_failure(error: Exception, request_started: bool) -> Answer:  # noqa: FBT001
    """Say what a try without an answer means; `request_started` is whether a byte of it can have left."""
    if request_started:
        text = f"No answer from Slack after the request had gone out ({_describe(error)})"
        return Answer(Verdict.UNCONFIRMED, "no_answer", text)
    if isinstance(
        error,
        (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError),
    ):
        # Its text may quote the URL in pieces that redaction can't know.
        return Answer(Verdict.REFUSED, "invalid_url", "The Slack webhook's address can't be used")
    detail = str(error) or _describe(error)
    return Answer(Verdict.RETRY, "connection_failed", _tidy(f"No connection to Slack: {detail}"))


class SlackWebhooks:
    """Slack as one run sees it: an async context manager around one HTTP client.

    In base URL mode each channel is a destination of its own; in single webhook mode all share one.
    """

    def __init__(self, settings: Settings) -> None:
        base, single = settings.slack_webhook_base_url, settings.slack_webhook_url
        if base is None and single is None:
            raise SlackNotConfigured("No Slack webhook: set SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL")
        self._base = base.get_secret_value() if base else None
        self._single = single.get_secret_value() if single else ""
        self._timeout = settings.slack_timeout_seconds
        # httpx logs every URL at INFO, and httpcore what it sends at DEBUG: a webhook's URL is its password.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            # No connection is kept: a pooled one that Slack has meanwhile closed fails only once the request
            # is on its way, turning a harmless 'never connected' into 'may have been delivered'.
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            # Starts anew with every byte that trickles in; the deadline of the whole try is in `post`.
            timeout=self._timeout,
        )

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client and its connections."""
        await self._client.__aexit__(kind, error, trace)

    @property
    def names_channel(self) -> bool:
        """Whether messages must name their channel, because one webhook takes them all."""
        return self._base is None

    def lane(self, channel: str) -> str:
        """Give the key of the destination behind `channel`: what is paced, waits and is refused together."""
        return channel if self._base is not None else "webhook"

    async def post(self, channel: str, message: dict[str, Any]) -> Answer:
        """Try once to post `message`; answers in all cases but cancellation, within the timeout."""
        body = json.dumps(message, ensure_ascii=False).encode()
        url = f"{self._base}/{quote(channel, safe='')}" if self._base is not None else self._single
        left = _Departure()
        response: httpx.Response | None = None
        received = bytearray()
        complete = False
        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.build_request(
                    "POST",
                    url,
                    content=body,
                    # No compression: a few bytes must not unpack into gigabytes.
                    headers={
                        "Content-Type": "application/json; charset=utf-8",
                        "Accept-Encoding": "identity",
                    },
                    extensions={"trace": left.trace},
                )
                response = await self._client.send(request, stream=True)
                complete = await _read(response, received)
        except Exception as error:  # noqa: BLE001  whatever broke, what counts is how far the request had got
            if response is None:
                return judge_failure(error, left.began)
        finally:
            if response is not None:
                await response.aclose()
        return judge(response.status_code, response.headers, bytes(received), complete, datetime.now(UTC))


class _Departure:
    """Watches httpcore for the moment from which Slack can have seen a request."""

    def __init__(self) -> None:
        self.began = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the start of the headers of the POST, not those of a proxy's CONNECT before it."""
        if event.endswith(".send_request_headers.started") and info["request"].method == b"POST":
            self.began = True


async def _read(response: httpx.Response, received: bytearray) -> bool:
    """Read the body into `received` as it comes, up to BODY_MAX; answers whether that was all."""
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > BODY_MAX:
            return False
    return True


def _judge_success(said: dict[str, Any] | None, word: str | None, error: str, *, broke_off: bool) -> Answer:
    """Tell a 2xx that delivered from one whose JSON says no, or broke off before it could say so."""
    if said is not None and said.get("ok") is False:
        verdict = Verdict.CHANNEL_REFUSED if word in CHANNEL_WIDE_WORDS else Verdict.REFUSED
        return Answer(verdict, word or "slack_refused", f"{error} (ok: false)")
    if broke_off:
        return Answer(Verdict.UNCONFIRMED, "no_answer", f"{error}, but its JSON broke off")
    return Answer(Verdict.DELIVERED)


def _may_be_json(headers: httpx.Headers, body: bytes) -> bool:
    """Whether an answer whose rest is missing can be one that says `"ok": false` in it."""
    start = body.lstrip()
    return start.startswith(b"{") or (not start and "json" in headers.get("content-type", ""))


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _word(said: dict[str, Any] | None, body: bytes) -> str | None:
    """Find Slack's word for what is wrong: the `error` of a JSON body, or all of a plain one."""
    text = str(said.get("error")) if said is not None else body.decode(errors="replace").strip()
    return text if _WORD.fullmatch(text) and redact(text) == text else None


def _retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Read `Retry-After` as seconds from now; None when absent, senseless or not in the future."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value) or None
    until = _http_date(value)
    if until is None:
        return None
    # The server's date counts from the server's clock, which may be off from ours.
    seconds = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    return seconds if seconds > 0 else None


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _title(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _describe(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__


def _tidy(text: str) -> str:
    return redact(" ".join(text.split()))[:ERROR_MAX]
