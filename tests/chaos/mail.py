"""A mail server that refuses and disconnects at random, and records accepted mails."""

import asyncio
import logging
import random
import re
from collections.abc import Iterator
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from core.domain import AlertKey
from tests.service import closed_port
from tests.support.servers import Mailbox
from tests.waiting import HANG_SECONDS

# The library warns about its own code.
logging.getLogger("mail.log").setLevel(logging.ERROR)

HEADING = re.compile(r"(UNKNOWN REGION|FAILED|UNCONFIRMED)(?:: \w+)? \(\d+\)")
ACCOUNT = re.compile(r".*\((A\d+-\d+)\)")
TYPE = re.compile(r"  Alert: +(\w+)")


class ChaosMail(Mailbox):
    """The mails, and the server in a thread on a free port; `reliable` makes it well-behaved."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self._seed = seed
        self.server = Controller(
            self,
            hostname="127.0.0.1",
            port=closed_port(),
            ready_timeout=HANG_SECONDS,
            authenticator=lambda *_: AuthResult(success=True),
            auth_require_tls=False,
        )
        self.reliable = False
        self.offered = 0

    def listed(self) -> set[tuple[AlertKey, str]]:
        """Return the alerts of the accepted mails, each with its heading."""
        return {entry for body in self.bodies for entry in _entries(body)}

    async def handle_MAIL(  # noqa: N802  # aiosmtpd requires the name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        chance = random.Random(f"{self._seed}/{self.offered}")  # noqa: S311
        session.choice = 1.0 if self.reliable else chance.random()
        self.offered += 1
        if session.choice < 0.2:
            return "451 not now"
        return await super().handle_MAIL(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Accept the mail, refuse it, or accept it and disconnect without an answer."""
        # Give the driver time to kill the sender.
        await asyncio.sleep(0.05)
        if session.choice < 0.35:
            return "554 no"
        if session.choice < 0.5:
            server.transport.abort()
            return "250 never heard"
        return await super().handle_DATA(server, session, envelope)


def _entries(text: str) -> Iterator[tuple[AlertKey, str]]:
    heading = account = ""
    for line in text.splitlines():
        if found := HEADING.fullmatch(line):
            heading = found[1]
        elif found := ACCOUNT.fullmatch(line):
            account = found[1]
        elif found := TYPE.fullmatch(line):
            yield AlertKey(account, found[1]), heading
