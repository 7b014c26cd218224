"""The middleware: the token, the limit of the body, and the headers of each answer."""

import base64
import secrets
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.pages import wants_page
from api.problems import BODY_MAX, problem

_HEADERS = {
    # Answers hold names and amounts of customers.
    "Cache-Control": "no-store",
    # A browser gets a page where a program gets JSON.
    "Vary": "Accept",
    # Against clickjacking: no site may show a page of this one in a frame.
    "Content-Security-Policy": "frame-ancestors 'none'",
}

_SIGN_IN = "Reload the page and sign in with the API_TOKEN as the password and any user name"
_BASIC = 'Basic realm="Account Risk Alerts", charset="UTF-8"'
_OF_PAGES = ("/docs", "/favicon.ico", "/openapi.json", "/pages/", "/static-offline-docs/")
"""Paths that pages load, or send forms to. They accept HTTP Basic, whatever the header `Accept` says."""


class Gateway:
    """Check the token (bearer or, for pages, HTTP Basic), limit the body, and add headers to the answer."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with GET for HEAD, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server keeps its own scope, with HEAD, and so sends no body.
        request = Request({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(request) or self._app
        await answer(request.scope, _limited(receive), send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return the 401 for a request that needs the token and lacks it; otherwise None."""
        path = request.scope["path"].removeprefix(request.scope["root_path"])
        in_browser = wants_page(request)
        is_page = (in_browser and request.method == "GET") or path.startswith(_OF_PAGES)
        schemes = {"bearer", "basic"} if is_page else {"bearer"}
        if self._token is None or path == "/health" or self._has_token(request, schemes):
            return None
        answer = problem(request, "unauthorized", _SIGN_IN if in_browser else None)
        answer.headers["WWW-Authenticate"] = _BASIC if in_browser else "Bearer"
        return answer

    def _has_token(self, request: Request, schemes: set[str]) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        scheme = scheme.lower()
        token = _password(credentials) if scheme == "basic" else credentials.strip().encode("latin-1")
        return scheme in schemes and secrets.compare_digest(token, self._token or b"")


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that raises a 413 for a body larger than `BODY_MAX`, announced or not."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_MAX:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return receive_limited


def _password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials).partition(b":")[2]
    except ValueError:
        return b""
