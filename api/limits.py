"""How much a request may bring."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

BODY_MAX = 256 * 1024
"""Bytes of a request's body. What a run is asked takes a few hundred, with the longest URI 25 thousand."""

DRAINED_MAX = 32 * BODY_MAX
"""Bytes of a body too large that are still taken and dropped: most clients write it all before they read."""


class LimitedBody:
    """Answers 413 for a body that is larger than `BODY_MAX`, announced or not, before anything reads it.

    Plain ASGI, behind the token: no body of a stranger's is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, which is small, and pass the request on with it; or refuse it."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        size = 0
        more = True
        while more and size <= DRAINED_MAX:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= BODY_MAX:
                body += chunk
            more = message.get("more_body", False)
        if size > BODY_MAX:
            answer = problem("request_too_large", f"The body is larger than {BODY_MAX} bytes")
            await answer(scope, receive, send)
            return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            message, whole = whole, None
            return message if message is not None else await receive()

        await self._app(scope, replay, send)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
