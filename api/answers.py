"""What every answer carries: the request's id, and headers that keep a browser from making more of it."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.logs import current_request_id

REQUEST_ID = "X-Request-ID"

_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""What is taken over into log lines: no spaces, quotes or line breaks, and no end of bytes."""

_SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Answers hold names and amounts of customers.
    "Cache-Control": "no-store",
}


class CompletedAnswers:
    """Gives each request an id, the caller's own where it is well-formed, and each answer its headers.

    Plain ASGI around all the rest, so that 401s and answers to defects have them too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        # Never reset: the server's task for this request has still to log its access line, or its defect.
        current_request_id.set(request_id)

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _SAFETY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_completed)


def _request_id(headers: Headers) -> str:
    given = headers.getlist(REQUEST_ID)
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return str(uuid.uuid4())
