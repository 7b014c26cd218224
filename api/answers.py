"""The outermost layer: one form for every request, an id and safe headers for every answer."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.runtime import current_request_id

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

    Inside of it, HEAD is GET, and the path begins with the prefix of a proxy exactly once.

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

        await self._app(_normalized(scope), receive, send_completed)


def path_below_root(scope: Scope) -> str:
    """Return the path of a request without the prefix under which a proxy serves the API."""
    path: str = scope["path"]
    return path.removeprefix(scope["root_path"])


def _normalized(scope: Scope) -> Scope:
    """Return the scope with GET for HEAD and with the prefix once.

    The server leaves out the body by the scope of its own. It puts the prefix (`uvicorn --root-path`) before
    every path, and a proxy that does not strip the prefix sends it as well.
    """
    given = scope.get("root_path", "")
    path = scope["path"].removeprefix(given)
    root = f"/{given.strip('/')}".rstrip("/")
    if f"{path}/".startswith(f"{root}/"):
        path = path.removeprefix(root)
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "method": method, "root_path": root, "path": root + (path or "/")}


def _request_id(headers: Headers) -> str:
    given = headers.getlist(REQUEST_ID)
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return str(uuid.uuid4())
