"""Mail servers for tests: a real one with given answers, and a socket without a protocol."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.runtime import Settings
from tests.service import closed_port
from tests.waiting import HANG_SECONDS

ADDRESS = "support@quadsci.ai"


Answer = str | Callable[[Any], Awaitable[str]]
"""An answer, or a coroutine function that returns one; its argument is aiosmtpd's server."""


async def hang(_server: Any) -> str:
    """Leave a command without an answer."""
    await asyncio.sleep(60)
    raise AssertionError("the client should have gone")


class Mailbox:
    """A handler of aiosmtpd that keeps each mail, before its answer, and sends given answers."""

    def __init__(self, **answers: Answer) -> None:
        """Answer to commands with `answers`: `RCPT="550 no such user"`."""
        self.answers = answers
        self.commands: list[str] = []
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[str] = []
        self.greetings: list[str] = []

    @property
    def bodies(self) -> list[str]:
        return [mail.get_content() for mail in self.mails]

    async def _answer(self, command: str, server: Any) -> str:
        self.commands.append(command)
        answer = self.answers.get(command, "221 Bye" if command == "QUIT" else "250 OK")
        return answer if isinstance(answer, str) else await answer(server)

    async def handle_MAIL(  # noqa: N802
        self, server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return await self._answer("MAIL", server)

    async def handle_RCPT(  # noqa: N802
        self, server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        answer = await self._answer("RCPT", server)
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.greetings.append(session.host_name)
        found = message_from_bytes(envelope.original_content, policy=default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.raw.append(envelope.original_content)
        self.recipients += envelope.rcpt_tos
        return await self._answer("DATA", server)

    async def handle_QUIT(self, server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
        return await self._answer("QUIT", server)


@contextmanager
def mail_server(mailbox: Mailbox, hostname: str = "127.0.0.1", **options: Any) -> Iterator[Settings]:
    """Run a mail server; return settings that point to it."""
    controller = Controller(
        mailbox, hostname=hostname, port=closed_port(), ready_timeout=HANG_SECONDS, **options
    )
    controller.start()
    try:
        yield smtp_settings(controller.port, smtp_host=hostname)
    finally:
        controller.stop()


@contextmanager
def socket_server(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[Settings]:
    """Serve one client with `talk` until it disconnects or the event is set; yield settings."""
    over = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                talk(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        yield smtp_settings(server.getsockname()[1])
        over.set()
        thread.join()


def smtp_settings(port: int, **values: Any) -> Settings:
    return Settings(smtp_port=port, support_email=ADDRESS, **{"smtp_host": "127.0.0.1"} | values)


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return a server's context; its new, untrusted certificate for 127.0.0.1 is `certificate.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context
