"""The middleware: the request ID, the token, the limit of the body, and the headers of each answer."""

import base64
import binascii
import re
import secrets
import uuid
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.pages import wants_page
from api.problems import BODY_MAX, problem
from core.runtime import current_request_id

REQUEST_ID = "X-Request-ID"

_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""Request ids that log lines can hold: no spaces, quotes or line breaks, and a bounded length."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Answers hold names and amounts of customers.
    "Cache-Control": "no-store",
    # A browser gets a page where a program gets JSON.
    "Vary": "Accept",
}

OPEN_PATHS = frozenset({"/health"})
"""The paths that need no token."""

FORMS = "/pages/"
"""The prefix of the paths that the forms of the pages post to."""

_SIGN_IN = "Reload the page and sign in with the API_TOKEN as the password; any user name will do"
_BASIC = 'Basic realm="Account Risk Alerts", charset="UTF-8"'
_CROSS_SITE = (
    "the request: sent by another site, or by no page at all; open the page here and send its form,"
    " or call the API with the API_TOKEN (scheme Bearer)"
)

DRAINED_MAX = 32 * BODY_MAX
"""Bytes of a larger body that are received and dropped: most clients send all of it before they read."""


class Gateway:
    """Guard each request and complete each answer: unknown paths, documentation and internal errors included.

    A program sends the token by the scheme Bearer. A browser sends it as the password of HTTP Basic, which
    allows reading and the forms of the pages, but starts no run.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(_normalized(scope))
        given = request.headers.get(REQUEST_ID, "")
        request_id = given if _WELL_FORMED.fullmatch(given) else str(uuid.uuid4())
        # Never reset: the server's task logs the access line, or an internal error, after this returns.
        current_request_id.set(request_id)

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {REQUEST_ID: request_id, **_HEADERS}.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(request) or self._app
        await answer(request.scope, _limited(receive), send_completed)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request without the token, or to a change that another site asks for."""
        path = request.scope["path"].removeprefix(request.scope["root_path"])
        if path in OPEN_PATHS:
            return None
        is_form, reads = path.startswith(FORMS), request.method == "GET"
        scheme = self._scheme(request)
        if self._token and not (scheme == "bearer" or (scheme == "basic" and (is_form or reads))):
            in_browser = wants_page(request)
            answer = problem(request, "unauthorized", _SIGN_IN if in_browser else None)
            answer.headers["WWW-Authenticate"] = _BASIC if in_browser else "Bearer"
            return answer
        # No browser sends a Bearer token for another site.
        if reads or scheme == "bearer" or _is_from_this_site(request, default=not is_form):
            return None
        return problem(request, "invalid_request", _CROSS_SITE)

    def _scheme(self, request: Request) -> str | None:
        """Return the scheme, in lower case, by which the request carries the token; None if it does not."""
        given = request.headers.getlist("authorization")
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        scheme = scheme.lower()
        token = _password(credentials) if scheme == "basic" else credentials.strip().encode("latin-1")
        known = scheme in {"basic", "bearer"} and self._token is not None
        return scheme if known and secrets.compare_digest(token, self._token or b"") else None


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that raises a 413 for a body larger than `BODY_MAX`, announced or not."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if size <= BODY_MAX:
                return message
            if size > DRAINED_MAX or not message.get("more_body"):
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    return receive_limited


def _normalized(scope: Scope) -> Scope:
    """Return the scope with GET for HEAD and with the prefix once.

    The server omits the body by the scope of its own. It puts the prefix (`uvicorn --root-path`) before
    every path, and a proxy that does not strip the prefix sends it as well.
    """
    given = scope.get("root_path", "")
    path = scope["path"].removeprefix(given)
    root = f"/{given.strip('/')}".rstrip("/")
    if f"{path}/".startswith(f"{root}/"):
        path = path.removeprefix(root)
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "method": method, "root_path": root, "path": root + (path or "/")}


def _password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _is_from_this_site(request: Request, *, default: bool) -> bool:
    """Return whether a page of this host sent the request, as the browser states; else `default`."""
    fetched_by = request.headers.get("sec-fetch-site")
    if fetched_by is not None:
        return fetched_by == "same-origin"
    # Without TLS, browsers send Sec-Fetch-Site to localhost alone.
    origin = request.headers.get("origin")
    return default if origin is None else origin.partition("://")[2] == request.headers.get("host")
