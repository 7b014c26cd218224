"""Who is logged in with a browser: a cookie that was made from the token, and is not the token."""

import hashlib
import hmac
import secrets
import time

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

COOKIE = "risk_alerts_session"
LASTS_SECONDS = 12 * 3600


class Sessions:
    """Makes cookies and checks them, without a store: every replica knows them, and a new token ends all."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # Apart from the token, so that a cookie tells nothing of it that could be tried for other ends.
        self._key = hmac.digest(self._token, b"account-risk-alerts browser session", hashlib.sha256)

    def is_token(self, given: str) -> bool:
        """Compare in constant time."""
        return secrets.compare_digest(given.strip().encode("utf-8", "replace"), self._token)

    def new_cookie(self, now: float | None = None) -> str:
        """Give the value of a cookie that is good from now on, for a working day."""
        until = str(int((time.time() if now is None else now) + LASTS_SECONDS))
        return f"{until}.{self._sign(until)}"

    def is_open(self, headers: Headers) -> bool:
        """Say whether a request carries a good cookie."""
        # Python's own reader gives up on all cookies for one of another program's with a strange name.
        until, _, signature = cookie_parser(headers.get("cookie", "")).get(COOKIE, "").partition(".")
        signed = secrets.compare_digest(signature.encode("utf-8", "replace"), self._sign(until).encode())
        return signed and until.isdecimal() and time.time() < int(until)

    def _sign(self, until: str) -> str:
        return hmac.new(self._key, until.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
