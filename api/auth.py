"""Who may call the API."""

import secrets

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.pages.rendering import wants_page
from api.pages.routes import LOGIN, login_page
from api.pages.session import Sessions
from api.problems import problem

OPEN_PATHS = frozenset({"/health"})


class BearerToken:
    """Lets only requests through that carry the token, or where a browser may ask the cookie of its login.

    Open to all are health checks and the login.

    Plain ASGI, in front of the router: also an unknown path and the documentation tell a stranger nothing.
    """

    def __init__(self, app: ASGIApp, token: str, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_authorized(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if _is_for_browsers(request):
            if scope["path"] == LOGIN or self._sessions.is_open(request.headers):
                await self._app(scope, receive, send)
                return
            if wants_page(request):
                await login_page(_address_of(request))(scope, receive, send)
                return
        answer = problem("unauthorized", "The Authorization header must carry the API_TOKEN (scheme Bearer)")
        await answer(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        # The scheme's name has no case (RFC 9110); the token is compared in constant time.
        return secrets.compare_digest(scheme.capitalize() + b" " + token.strip(), self._expected)


def _is_for_browsers(request: Request) -> bool:
    """Say whether a cookie is enough: it opens what can be looked at, and the forms of our pages."""
    return request.method in {"GET", "HEAD"} or request.url.path.startswith("/pages/")


def _address_of(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
