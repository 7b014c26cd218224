"""One mail to support, over SMTP."""

import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Any

from core.domain import SupportMessage
from core.runtime import Settings, in_thread, one_line, redact

IDLE_SECONDS = 10.0
"""The longest wait for one answer of the mail server."""
TOTAL_SECONDS = 30.0
"""The longest time for a whole mail, from the name look-up to the last answer."""
IMPLICIT_TLS_PORT = 465

_LONGEST_REASON = 500


class MailError(Exception):
    """The mail server did not confirm the mail; `why` is the reason, without secrets."""

    def __init__(self, why: str, result: str = "The mail was not sent") -> None:
        super().__init__(f"{result}: {why}")
        self.why = why


def send_mail(settings: Settings, message: SupportMessage) -> None:
    """Send `message` to `SUPPORT_EMAIL`; raise `MailError` unless the mail server has accepted it."""
    _run_session(settings, message)


def try_login(settings: Settings) -> None:
    """Connect and log in to the mail server at `SMTP_HOST`, and send nothing; raise `MailError`."""
    _run_session(settings, None)


def _run_session(settings: Settings, message: SupportMessage | None) -> None:
    """Run a session with the mail server in a thread, which allows one timeout for all of its steps."""
    session = _Session()
    session_end = in_thread(lambda: _send_in_session(session, settings, message), "support-mail")
    try:
        session_end.result(TOTAL_SECONDS)
    except TimeoutError:
        if not session.accepted:
            raise _unconfirmed(settings, f"it took longer than {TOTAL_SECONDS:g} s") from None
    finally:
        session.leave()


@dataclass
class _Session:
    """The state of a session, which its caller and its thread share."""

    smtp: smtplib.SMTP | None = None
    accepted: bool = False
    left: bool = False

    def leave(self) -> None:
        """End the session at any time; nothing more is sent."""
        self.left = True
        if self.smtp and self.smtp.sock:
            with suppress(OSError):
                # The TLS socket's own method would let another thread send its bytes unencrypted.
                socket.socket.shutdown(self.smtp.sock, socket.SHUT_RDWR)


def _send_in_session(session: _Session, settings: Settings, message: SupportMessage | None) -> None:
    try:
        mail = _mail(settings, message) if message else None
        smtp = _connect(settings, session)
        _login(smtp, settings, encrypted=_encrypt(smtp, settings))
        if session.left:
            raise MailError("the session was given up")
        if mail:
            smtp.send_message(mail)
        session.accepted = True
        # The server has accepted the mail, so an error of QUIT does not matter.
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()
    except smtplib.SMTPNotSupportedError:
        raise MailError(
            "an address outside of ASCII needs SMTPUTF8, which the mail server"
            " does not offer; change SUPPORT_EMAIL or SMTP_FROM"
        ) from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise _unconfirmed(settings, _error_text(error)) from None
    finally:
        if session.smtp:
            session.smtp.close()


class _Smtp(smtplib.SMTP):
    """A client that its session can close even before the client is connected."""

    def __init__(self, session: _Session, **options: Any) -> None:
        session.smtp = self
        super().__init__(**options)


class _SmtpOverTls(_Smtp, smtplib.SMTP_SSL):
    """Such a client that encrypts the connection from its start."""


def _connect(settings: Settings, session: _Session) -> smtplib.SMTP:
    address: dict[str, Any] = {"host": settings.smtp_host or "localhost", "port": settings.smtp_port}
    if settings.smtp_port == IMPLICIT_TLS_PORT:
        return _SmtpOverTls(session, **address, timeout=IDLE_SECONDS, context=ssl.create_default_context())
    return _Smtp(session, **address, timeout=IDLE_SECONDS)


def _mail(settings: Settings, message: SupportMessage) -> EmailMessage:
    # Every mail server accepts 7bit; some do not accept 8BITMIME.
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    # A line break in the subject would begin another header.
    mail["Subject"] = " ".join(message.subject.split())
    sender = _with_ascii_domain(settings.smtp_from)
    mail["From"] = sender
    mail["To"] = _with_ascii_domain(settings.support_email)
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # Automatic responders do not answer such a mail.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    return mail


def _with_ascii_domain(address: str) -> str:
    """Return the address with its domain in ASCII (IDNA), which needs no SMTPUTF8."""
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        raise MailError(f"{domain} is not a domain; change SUPPORT_EMAIL or SMTP_FROM") from None


def _encrypt(smtp: smtplib.SMTP, settings: Settings) -> bool:
    """Encrypt the session according to `SMTP_STARTTLS`, and return whether it is encrypted."""
    if isinstance(smtp, smtplib.SMTP_SSL):
        return True
    smtp.ehlo_or_helo_if_needed()
    if settings.smtp_starttls is False:
        return False
    if not smtp.has_extn("starttls"):
        if settings.smtp_starttls:
            raise MailError("the mail server offers no TLS; change SMTP_PORT or SMTP_STARTTLS")
        return False
    smtp.starttls(context=ssl.create_default_context())
    return True


def _login(smtp: smtplib.SMTP, settings: Settings, *, encrypted: bool) -> None:
    if settings.smtp_username is None or settings.smtp_password is None:
        return
    if not encrypted and settings.smtp_starttls is not False:
        raise MailError(
            "the mail server offers no TLS, and the password is not sent without it;"
            " change SMTP_PORT, or set SMTP_STARTTLS to false"
        )
    username, password = settings.smtp_username, settings.smtp_password.get_secret_value()
    if not (username + password).isascii():
        why = "SMTP_USERNAME or SMTP_PASSWORD has a character that is not ASCII, which the login cannot carry"
        raise MailError(f"{why}; change it")
    try:
        smtp.login(username, password)
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPNotSupportedError:
        why = "the mail server offers no login; unset SMTP_USERNAME and SMTP_PASSWORD, or change SMTP_PORT"
        raise MailError(why) from None
    # The server's words may repeat the password in an encoding that redaction does not know.
    except smtplib.SMTPAuthenticationError as error:
        why = f"the mail server refused the login ({error.smtp_code}); check SMTP_USERNAME and SMTP_PASSWORD"
        raise MailError(why) from None
    except (smtplib.SMTPException, ValueError):
        why = "the login failed; the mail server must offer PLAIN, LOGIN or CRAM-MD5"
        raise MailError(why) from None


def _unconfirmed(settings: Settings, why: str) -> MailError:
    server = f"{settings.smtp_host}:{settings.smtp_port}"
    return MailError(
        f"{one_line(redact(why))[:_LONGEST_REASON]}; check SMTP_HOST, SMTP_PORT and that server",
        f"The mail server {server} did not confirm the mail",
    )


def _error_text(error: Exception) -> str:
    """Return the server's answer, or the text of another error."""
    code: int
    words: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, words = error.smtp_code, error.smtp_error
    else:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"certificate verify failed ({error.verify_message}), see SSL_CERT_FILE"
        return getattr(error, "strerror", None) or str(error) or "no reason given"
    return f"{code} {words.decode(errors='replace') if isinstance(words, bytes) else words}"
