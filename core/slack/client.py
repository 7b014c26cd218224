"""Slack's incoming webhooks over HTTP: one attempt to post one message."""

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from core.domain import one_line
from core.runtime import Settings, redact
from core.slack.verdicts import Answer, judge, judge_failure

BODY_MAX = 64 * 1024
"""The largest number of bytes to read of an answer; Slack sends one word or a small JSON object."""
# No compression: a few bytes must not unpack to gigabytes.
HEADERS = {"Content-Type": "application/json; charset=utf-8", "Accept-Encoding": "identity"}


class SlackWebhooks(AbstractAsyncContextManager["SlackWebhooks"]):
    """The webhooks of one run: an async context manager around one HTTP client.

    In base URL mode each channel is a lane of its own; in single webhook mode all channels share one.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.require_slack()
        self._single = settings.single_webhook
        self._timeout = settings.slack_timeout_seconds
        # httpx logs every URL at INFO, httpcore every request at DEBUG, and a webhook's URL is its password.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            # A kept connection that Slack has closed fails only after the request was sent, and then an
            # undelivered message would become unconfirmed.
            limits=httpx.Limits(max_keepalive_connections=0),
            # Each received byte would restart it; `post` and `reach` limit the whole attempt.
            timeout=None,  # noqa: S113
        )

    async def __aexit__(self, *_: object) -> None:
        """Close the client and its connections."""
        await self._client.aclose()

    def lane(self, channel: str) -> str:
        """Return the lane of a channel: the messages of a lane are paced and refused together."""
        return "webhook" if self._single else channel

    async def reach(self) -> None:
        """Ask Slack's host for its front page; raise `ConnectionError` when no answer comes."""
        try:
            url = httpx.URL(self._url)
            async with asyncio.timeout(self._timeout):
                await self._client.head(url.copy_with(raw_path=b"/", userinfo=b""))
        except TimeoutError:
            raise ConnectionError(f"no answer in {self._timeout:g} s") from None
        except Exception as error:  # noqa: BLE001  # whatever answers there may break the protocol in any way
            raise ConnectionError(one_line(redact(str(error))) or "no reason given") from None

    async def post(self, channel: str, message: dict[str, Any]) -> Answer:
        """Post `message` once, and return within the timeout."""
        body = json.dumps(message, ensure_ascii=False)
        url = self._url if self._single else f"{self._url}/{quote(channel, safe='')}"
        response: httpx.Response | None = None
        received = bytearray()
        started = complete = False

        async def watch(event: str, info: dict[str, Any]) -> None:
            nonlocal started
            # The CONNECT to a proxy does not count.
            if event.endswith(".send_request_headers.started") and info["request"].method == b"POST":
                started = True

        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(
                    "POST", url, content=body, headers=HEADERS, extensions={"trace": watch}
                ) as response,
            ):
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > BODY_MAX:
                        break
                else:
                    complete = True
        except Exception as error:  # noqa: BLE001  only the progress of the request matters
            # After the status has arrived, an incomplete answer is judged like a complete one.
            if response is None:
                return judge_failure(error, request_started=started)
        now = datetime.now(UTC)
        return judge(response.status_code, response.headers, bytes(received), body_complete=complete, now=now)
