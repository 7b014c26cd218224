"""A mail to a real mail server, and to servers that are broken, slow or untrusted."""

import asyncio
import re
import socket
import threading
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from pydantic import Secret

from core.domain import NotificationStatus, SupportMessage
from core.runtime import protect
from core.support import MailError, mail, notify, send_mail
from tests.support.servers import (
    ADDRESS,
    Answer,
    Mailbox,
    hang,
    mail_server,
    self_signed,
    smtp_settings,
    socket_server,
)

MESSAGE = SupportMessage(subject="Account risk alerts 2026-01: 1 failed", body="Zo\u00eb\n.\nlast line\n")
NO_TLS = "STARTTLS extension not supported"
LOGIN = {"smtp_username": "me", "smtp_password": "right-pass"}
REFUSED = "it refused the login ({}); check SMTP_USERNAME, SMTP_PASSWORD and SMTP_STARTTLS"
CHECK = "; check SMTP_HOST, SMTP_PORT, SMTP_STARTTLS and that server"
CHECK_ADDRESSES = "; check SMTP_FROM, SUPPORT_EMAIL, SMTP_USERNAME and that server"
ODD = "its answer is not SMTP" + CHECK


class Logins:
    """Accepts the password `right-pass`, and records the passwords that it got."""

    def __init__(self) -> None:
        self.passwords: list[bytes] = []

    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: Any, data: Any) -> AuthResult:
        self.passwords.append(data.password)
        return AuthResult(success=data.password == b"right-pass", handled=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit a mail to five seconds and an answer to two: enough for a busy machine until a server stops."""
    monkeypatch.setattr(mail, "IDLE_SECONDS", 2)
    monkeypatch.setattr(mail, "TOTAL_SECONDS", 5)


def no_mail_is_under_way() -> bool:
    """Wait for the sessions to end; return whether they have."""
    for thread in threading.enumerate():
        if thread.name == "support-mail":
            thread.join(60)
    return all(thread.name != "support-mail" for thread in threading.enumerate())


def fails(settings: Any, match: str) -> None:
    """Assert that a mail fails with these words and the notification ends normally."""
    result = notify(MESSAGE, settings)
    assert result.status is NotificationStatus.FAILED
    assert match in result.error
    assert no_mail_is_under_way()


def converse(connection: socket.socket, *lines: str) -> None:
    """Send the first line, and each other one after a command."""
    for number, line in enumerate(lines):
        if number:
            connection.recv(1000)
        connection.sendall(f"{line}\r\n".encode())


def test_subject_injects_no_header() -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as settings, pytest.raises(MailError, match="may not contain linefeed"):
        send_mail(settings, replace(MESSAGE, subject="Alerts\r\nBcc: all@example.com\r\n\r\nbody"))
    assert mailbox.mails == []


def test_missing_required_tls_sends_nothing() -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as settings:
        fails(settings.model_copy(update={"smtp_starttls": True}), f"{NO_TLS} by server; check")
    assert mailbox.mails == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_password_needs_tls_by_default() -> None:
    logins = Logins()
    protect(["right-pass", "wrong-pass"])
    with mail_server(Mailbox(), authenticator=logins, auth_required=True, auth_require_tls=False) as server:
        fails(smtp_settings(server.smtp_port, **LOGIN), NO_TLS)
        assert logins.passwords == []
        plain = smtp_settings(server.smtp_port, **LOGIN, smtp_starttls=False)
        send_mail(plain, MESSAGE)
        assert logins.passwords == [b"right-pass"]
        fails(plain.model_copy(update={"smtp_password": Secret("wrong-pass")}), REFUSED.format(535))


HOSTILE_BODY = "Zo\u00eb \U0001f6a9\n" + "long \u00eb" * 500 + "\n" + "x" * 5000 + "\nbare\rreturn\n.\n.dot\n"


@pytest.mark.parametrize("body", ["Zo\u00eb\n", HOSTILE_BODY], ids=["short", "hostile"])
@pytest.mark.parametrize("smtputf8", [False, True])
def test_mail_arrives_whole_and_in_ascii(body: str, *, smtputf8: bool) -> None:
    """Some mail servers do not accept 8BITMIME."""
    subject = "Alerts \U0001f6a9 Zo\u00eb" + " w\u00f6rd" * 200
    mailbox = Mailbox()
    with mail_server(mailbox, decode_data=True, enable_SMTPUTF8=smtputf8) as server:
        settings = server.model_copy(update={"smtp_from": "alerts@example.com"})
        send_mail(settings, replace(MESSAGE, subject=subject, body=body))
    [found], [raw] = mailbox.mails, mailbox.raw
    assert mailbox.recipients == [ADDRESS]
    assert (found["From"], found["To"]) == ("alerts@example.com", ADDRESS)
    assert found["Message-ID"].endswith("@example.com>")
    assert found["Date"].datetime is not None
    assert found["Auto-Submitted"] == "auto-generated"
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert found["Subject"] == subject
    assert found.get_content().splitlines() == body.splitlines()


@pytest.mark.parametrize(
    ("methods", "answers", "words"),
    [
        ("PLAIN", ["535 "], REFUSED.format(535)),
        ("LOGIN", ["334 ", "550 "], REFUSED.format(550)),
        ("PLAIN", ["530 "], REFUSED.format(530)),
        ("LOGIN", ["334 ", "503 "], REFUSED.format(503)),
        ("LOGIN", ["334 ", "334 "], REFUSED.format(334)),
        ("CRAM-MD5", ["334 !"], REFUSED.format(334)),
        ("LOGIN", ["235 "], REFUSED.format(235)),
        ("PLAIN", [""], ODD),
        ("PLAIN", ["535 " + "x" * 9000], ODD),
        ("CRAM-MD5", [""], ODD),
        ("XOAUTH2", [], "No suitable authentication method found"),
    ],
)
def test_failed_login_says_what_to_do(methods: str, answers: list[str], words: str) -> None:
    """The server may repeat the password in a form that redaction does not recognize."""

    def talk(connection: socket.socket, _over: threading.Event) -> None:
        converse(connection, "220 hello", f"250-me\r\n250 AUTH {methods}")
        for answer in answers:
            given = connection.recv(1000)
            connection.sendall(answer.encode() + given.split()[-1] + b"\r\n")

    with socket_server(talk) as server:
        result = notify(MESSAGE, smtp_settings(server.smtp_port, smtp_starttls=False, **LOGIN))
    assert result.error.split("confirm the mail: ")[1].startswith(words)
    assert b64encode(b"right-pass").decode() not in result.error


@pytest.mark.parametrize(
    ("name", "greets_as"), [("alerts.example.com", "alerts.example.com"), ("container", "[127.0.0.1]")]
)
def test_client_greets_with_a_domain_or_an_address(
    monkeypatch: pytest.MonkeyPatch, name: str, greets_as: str
) -> None:
    """Many mail servers refuse a name without a domain, which a container has."""
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    mailbox = Mailbox()
    with mail_server(mailbox) as settings:
        send_mail(settings, MESSAGE)
    assert mailbox.greetings == [greets_as]


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ({"MAIL": "550 not from you"}, "550 not from you" + CHECK_ADDRESSES),
        ({"RCPT": "550 no such user"}, "550 no such user" + CHECK_ADDRESSES),
        ({"RCPT": "421 closing"}, "421 closing" + CHECK_ADDRESSES),
        ({"DATA": "421 closing"}, "421 closing" + CHECK),
        ({"DATA": "552 mailbox full"}, "552 mailbox full" + CHECK),
        ({"DATA": "what?"}, ODD),
    ],
)
def test_refusal_is_shown_with_the_server_text(answers: dict[str, str], shown: str) -> None:
    with mail_server(Mailbox(**answers)) as settings:
        fails(settings, shown)


def test_server_text_is_cut_and_shows_no_secret() -> None:
    protect(["hush-hush-word"])
    with mail_server(Mailbox(DATA="552 hush-hush-word " + "x" * 600), enable_SMTPUTF8=True) as settings:
        result = notify(MESSAGE, settings)
    assert "hush" not in result.error
    reason = result.error.split("confirm the mail: ")[1].removesuffix(CHECK)
    assert len(reason) == 500


@pytest.mark.parametrize("farewell", ["421 in a hurry", "500 what?", "nonsense"])
def test_accepted_mail_is_sent(farewell: str) -> None:
    """Otherwise support would get the mail twice."""
    mailbox = Mailbox(QUIT=farewell)
    with mail_server(mailbox) as settings:
        assert notify(MESSAGE, settings).status is NotificationStatus.SENT
        assert no_mail_is_under_way()
    assert len(mailbox.mails) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("idle_seconds", "lingers"), [(2, 60), (60, 5)], ids=["never", "late"])
def test_accepted_mail_is_sent_without_an_answer_to_quit(
    idle_seconds: float, lingers: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def linger(_server: Any) -> str:
        await asyncio.sleep(lingers)
        return "221 bye"

    monkeypatch.setattr(mail, "IDLE_SECONDS", idle_seconds)
    mailbox = Mailbox(QUIT=linger)
    with mail_server(mailbox) as settings:
        assert notify(MESSAGE, settings).status is NotificationStatus.SENT
    assert len(mailbox.mails) == 1


async def hang_up(server: Any) -> str:
    server.transport.abort()
    return await hang(server)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("answer", "words"), [(hang, "Timed out waiting for server response"), (hang_up, "")]
)
def test_unanswered_mail_has_failed(answer: Answer, words: str) -> None:
    """The next run sends it again, because two mails are better than none."""
    mailbox = Mailbox(DATA=answer)
    with mail_server(mailbox) as settings:
        fails(settings, words)
    assert len(mailbox.mails) == 1


STOPS = {
    "before its greeting": ([], "Timed out waiting for server ready message"),
    "after a refusal": (["554-no service\r\n554 for \x1b[31myou"], r"554 no service for  \[31myou"),
    "in TLS": (["220 hello", "250-me\r\n250 STARTTLS", "220 go ahead"], "while upgrading transport"),
    "reading": (
        ["220 hello", "250 me", "250 sender", "250 recipient", "354 go on"],
        # The second error comes if QUIT, after the time limit of the mail, has no answer either.
        "it took longer than 5 s|Timed out waiting for server response",
    ),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", STOPS)
def test_server_that_stops_is_given_up(when: str) -> None:
    lines, words = STOPS[when]

    def talk(connection: socket.socket, over: threading.Event) -> None:
        converse(connection, *lines)
        over.wait(300)

    body = ("x" * 70 + "\n") * 200_000  # more than the system buffers
    with socket_server(talk) as settings:
        result = notify(replace(MESSAGE, body=body), settings)
    assert re.search(words, result.error or "")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [b"", b"220 hello\r\n"], ids=["greeting", "ehlo"])
def test_slow_answer_is_given_up(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that never ends lets no single read time out."""
    monkeypatch.setattr(mail, "IDLE_SECONDS", 0.5)

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(before)
        while not over.wait(0.1):
            connection.sendall(b"250-x\r\n" if before else b"220-x\r\n")

    with socket_server(talk) as settings:
        fails(settings, "Timed out waiting for server")


@pytest.mark.parametrize("look_up", ["getaddrinfo", "getfqdn"])
def test_hung_look_up_sends_no_mail_later(monkeypatch: pytest.MonkeyPatch, look_up: str) -> None:
    """A look-up cannot be interrupted: nothing waits for it, and when it ends later, no mail must be sent."""
    monkeypatch.setattr(mail, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(mail, "TOTAL_SECONDS", 0.5)
    answered = threading.Event()
    real = getattr(socket, look_up)
    in_time: list[bool] = []

    def slow(*arguments: Any, **options: Any) -> Any:
        in_time.append(answered.wait(60))
        return real(*arguments, **options)

    mailbox = Mailbox()
    with mail_server(mailbox) as settings:
        monkeypatch.setattr(socket, look_up, slow)
        with pytest.raises(MailError, match=r"it took longer than 0\.5 s"):
            send_mail(settings.model_copy(update={"smtp_host": "localhost"}), MESSAGE)
        answered.set()
        assert no_mail_is_under_way()
    assert (set(in_time), mailbox.mails) == ({True}, [])


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(("implicit", "starttls"), [(True, None), (False, None), (False, True)])
def test_only_a_trusted_server_gets_mail_and_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool, implicit: bool, starttls: bool | None
) -> None:
    """This also holds for opportunistic TLS: the session does not continue unencrypted."""
    context, mailbox, logins = self_signed(tmp_path), Mailbox(), Logins()
    encryption = {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with mail_server(mailbox, **encryption, authenticator=logins, auth_require_tls=not implicit) as server:
        if implicit:
            assert mail.IMPLICIT_TLS_PORT == 465
            monkeypatch.setattr(mail, "IMPLICIT_TLS_PORT", server.smtp_port)
        settings = smtp_settings(server.smtp_port, smtp_starttls=starttls, **LOGIN)
        if trusted:
            assert notify(MESSAGE, settings).status is NotificationStatus.SENT
        else:
            fails(settings, ", see SSL_CERT_FILE; check SMTP_HOST")
    assert len(mailbox.mails) == len(logins.passwords) == trusted
