"""Who may call the API."""

import secrets

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

OPEN_PATHS = frozenset({"/health"})


class BearerToken:
    """Lets only requests through that carry the token, but for health checks.

    Plain ASGI, in front of the router: also an unknown path and the documentation tell a stranger nothing.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_authorized(scope):
            await self._app(scope, receive, send)
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
