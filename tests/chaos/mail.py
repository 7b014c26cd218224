"""A mail server that refuses and disconnects at random, and records accepted mails."""

import asyncio
import logging
import random
import re
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from core.domain import AlertKey
from tests.service import closed_port

# The library warns about its own code.
logging.getLogger("mail.log").setLevel(logging.ERROR)

HEADING = re.compile(r"(UNKNOWN REGION|FAILED|UNCONFIRMED)(?:: \w+)? \(\d+\)")
ACCOUNT = re.compile(r".*\((A\d+-\d+)\)")
TYPE = re.compile(r"  Alert: +(\w+)")


class ChaosMail:
    """The server, in a thread, on a free port; `kind` makes it well-behaved."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=closed_port(),
            authenticator=lambda *_: AuthResult(success=True),
            auth_require_tls=False,
        )
        self.port = self._controller.port
        self.kind = False
        self.offered = 0
        self._listed: set[tuple[AlertKey, str]] = set()

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    def listed(self) -> set[tuple[AlertKey, str]]:
        """Return the alerts of the accepted mails, each with its heading."""
        with self._lock:
            return set(self._listed)

    async def handle_MAIL(  # noqa: N802  # aiosmtpd requires the name
        self, _server: Any, session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Accept or refuse the sender of a mail."""
        chance = random.Random(f"{self._seed}/{self.offered}")  # noqa: S311
        session.choice = 1.0 if self.kind else chance.random()
        self.offered += 1
        if session.choice < 0.2:
            return "451 not now"
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Accept the mail, refuse it, or accept it and disconnect without an answer."""
        # Give the driver time to kill the sender.
        await asyncio.sleep(0.05)
        if session.choice < 0.35:
            return "554 no"
        if session.choice < 0.5:
            server.transport.abort()
            return "250 never heard"
        mail = message_from_bytes(envelope.content, _class=EmailMessage, policy=default)
        with self._lock:
            self._listed |= set(_entries(mail.get_content()))
        return "250 OK"


def _entries(text: str) -> Iterator[tuple[AlertKey, str]]:
    heading = account = ""
    for line in text.splitlines():
        if found := HEADING.fullmatch(line):
            heading = found[1]
        elif found := ACCOUNT.fullmatch(line):
            account = found[1]
        elif found := TYPE.fullmatch(line):
            yield AlertKey(account, found[1]), heading
