"""The Prefect server of `risk-alerts serve`: Prefect, for programs and for the pages of its own UI.

Prefect has no login, and a worker runs any command that a flow run names. Without these checks, a page of any
site in the operator's browser could read Prefect and start such a run.
"""

from prefect.server.api.server import create_app as create_prefect
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

HOSTS = ["127.0.0.1", "localhost"]


class _OwnPages:
    """Refuse the requests and websockets of other pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        answer = self._app
        if _is_of_another_page(scope):
            refusal = PlainTextResponse("Only the pages of this server may call it", 403)
            answer = refusal if scope["type"] == "http" else WebSocketClose()
        await answer(scope, receive, send)


def _is_of_another_page(scope: Scope) -> bool:
    if scope["type"] == "lifespan":
        return False
    own = [f"http://{host}:{scope['server'][1]}" for host in HOSTS]
    # A browser sends the origin of the page; a program sends none.
    return Headers(scope=scope).get("origin") not in {None, *own}


def create_app() -> ASGIApp:
    """Return the server."""
    # A site can let its own name lead to this address (DNS rebinding): then that name is the host.
    return TrustedHostMiddleware(_OwnPages(create_prefect()), HOSTS)
