"""Who may call the API, and which requests a browser may send to it."""

import base64
import binascii
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers import path_below_root
from api.pages.rendering import wants_page
from api.problems import problem_or_page

OPEN_PATHS = frozenset({"/health"})
FORMS = "/pages/"
"""Where the forms of the pages are sent."""

_UNAUTHORIZED = "The Authorization header must carry the API_TOKEN (scheme Bearer)"
_SIGN_IN = "Reload the page and sign in with the API_TOKEN as the password; any user name will do"
_BASIC = 'Basic realm="Account Risk Alerts", charset="UTF-8"'
_CROSS_SITE = (
    "the request: sent by another site, or by no page at all; open the page here and send its form,"
    " or call the API with the API_TOKEN (scheme Bearer)"
)


class Guard:
    """Admits requests that carry the token, and no change that another site has a browser send.

    A program sends the token by the scheme Bearer. A browser sends it as the password of HTTP Basic, which
    opens what can be looked at and the forms of the pages, and starts no run.

    Plain ASGI, in front of the router: also an unknown path and the documentation tell a stranger nothing.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        path = path_below_root(request.scope)
        if path in OPEN_PATHS:
            return None
        is_form, reads = path.startswith(FORMS), request.method == "GET"
        scheme = self._scheme(request)
        if self._token and not (scheme == "bearer" or (scheme == "basic" and (is_form or reads))):
            return _unauthorized(request)
        # No browser sends a Bearer token for another site.
        if reads or scheme == "bearer" or _is_from_this_site(request, default=not is_form):
            return None
        return problem_or_page(request, "invalid_request", _CROSS_SITE)

    def _scheme(self, request: Request) -> str | None:
        """Return the scheme, in lower case, by which the request carries the token; None if it does not."""
        given = request.headers.getlist("authorization")
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        scheme = scheme.lower()
        token = _password(credentials) if scheme == "basic" else credentials.strip().encode("latin-1")
        known = scheme in {"basic", "bearer"} and self._token is not None
        return scheme if known and secrets.compare_digest(token, self._token or b"") else None


def _password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _is_from_this_site(request: Request, *, default: bool) -> bool:
    """Return whether a page of this host sent the request, by what the browser says; else `default`."""
    fetched_by = request.headers.get("sec-fetch-site")
    if fetched_by is not None:
        return fetched_by == "same-origin"
    # Browsers leave out Sec-Fetch-Site where there is no TLS, but for this host itself.
    origin = request.headers.get("origin")
    return default if origin is None else urlsplit(origin).netloc == request.headers.get("host")


def _unauthorized(request: Request) -> Response:
    in_browser = wants_page(request)
    answer = problem_or_page(request, "unauthorized", _SIGN_IN if in_browser else _UNAUTHORIZED)
    answer.headers["WWW-Authenticate"] = _BASIC if in_browser else "Bearer"
    return answer
