"""One mail to support, over SMTP."""

import asyncio
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, make_msgid
from functools import partial

from aiosmtplib import SMTP, SMTPConnectError, SMTPException, SMTPResponseException, SMTPServerDisconnected

from core.domain import SupportMessage
from core.runtime import Settings, in_thread, one_line, redact

IDLE_SECONDS = 10.0
"""The longest wait for one answer of the mail server."""
TOTAL_SECONDS = 30.0
"""The longest time for a whole mail, from the name look-up to the last answer."""
IMPLICIT_TLS_PORT = 465
WITHOUT_LOGIN = "unset SMTP_USERNAME and SMTP_PASSWORD, or change SMTP_PORT"


class MailError(Exception):
    """The mail server did not confirm the mail or the login; the text has the reason, without secrets."""


def send_mail(settings: Settings, message: SupportMessage | None) -> None:
    """Send `message` to `SUPPORT_EMAIL`, or only log in to the mail server without one.

    Raises `MailError` unless the mail server has accepted the mail or the login.
    """
    # In a thread, because the caller's thread may have an event loop.
    in_thread(lambda: asyncio.run(_send(settings, message)), "support-mail").result()


async def _send(settings: Settings, message: SupportMessage | None) -> None:
    accepted = False
    try:
        async with asyncio.timeout(TOTAL_SECONDS) as limit:
            # A look-up may hang, and the process would wait for a thread of the event loop.
            smtp = await asyncio.wrap_future(in_thread(partial(_client, settings), "support-mail"))
            await smtp.connect()
            transport = smtp.transport
            try:
                _check_encryption(smtp, settings)
                await _login(smtp, settings)
                if message:
                    await smtp.mail(settings.smtp_from)
                    await smtp.rcpt(settings.support_email)
                    await smtp.data(_mail(settings, message).as_bytes())
                accepted = True
                await smtp.quit()
            finally:
                # The transport is None if the server has disconnected already.
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()
    except (SMTPException, OSError, ValueError) as error:
        # An accepted mail is sent, whatever the server answers to QUIT.
        if not accepted:
            why = f"it took longer than {TOTAL_SECONDS:g} s" if limit.expired() else _error_text(error)
            why = one_line(redact(why))[:500]
            raise MailError(f"{why}; check SMTP_HOST, SMTP_PORT and that server") from None


def _client(settings: Settings) -> SMTP:
    """Return a client that is connected, before the greeting of the server."""
    connection = socket.create_connection((settings.smtp_host, settings.smtp_port), IDLE_SECONDS)
    name, address = socket.getfqdn(), connection.getsockname()[0]
    address = f"IPv6:{address}" if ":" in address else address
    return SMTP(
        hostname=settings.smtp_host,
        sock=connection,
        # Some servers refuse a name without a domain.
        local_hostname=name if "." in name else f"[{address}]",
        timeout=IDLE_SECONDS,
        use_tls=settings.smtp_port == IMPLICIT_TLS_PORT,
        # With None, TLS is used if the server offers it.
        start_tls=False if settings.smtp_starttls is False else None,
        tls_context=ssl.create_default_context(),
    )


def _check_encryption(smtp: SMTP, settings: Settings) -> None:
    """Raise `MailError` without TLS if a password or `SMTP_STARTTLS` needs it."""
    needed = settings.smtp_password if settings.smtp_starttls is None else settings.smtp_starttls
    if needed and not smtp.get_transport_info("sslcontext"):
        raise MailError("it offers no TLS; change SMTP_PORT, or allow plain text by SMTP_STARTTLS=false")


async def _login(smtp: SMTP, settings: Settings) -> None:
    user, password = settings.smtp_username, settings.smtp_password
    if user is None or password is None:
        return
    await smtp.ehlo()
    if not smtp.supported_auth_methods:
        raise MailError(f"it offers no login by PLAIN, LOGIN or CRAM-MD5; {WITHOUT_LOGIN}")
    encrypted = smtp.get_transport_info("sslcontext") is not None
    try:
        await smtp.login(user, password.get_secret_value())
    except SMTPResponseException as error:
        # The server's words may repeat the password in an encoding that redaction does not know.
        raise MailError(_login_error(error.code, encrypted=encrypted)) from None


def _login_error(code: int, *, encrypted: bool) -> str:
    """Return what the server's answer to a login means, and what to do."""
    shown = "not SMTP" if code < 0 else str(code)
    if shown.startswith("4"):
        return f"it accepts no login now ({shown}); try again later"
    if code in {530, 538} and not encrypted:
        return f"it wants TLS before a login ({shown}); set SMTP_STARTTLS=true, or change SMTP_PORT"
    # 500, 502 and 504 are the answers of a server without a login;
    # 503 is that of a server that allows none now.
    if shown.startswith("5") and code not in {500, 502, 503, 504}:
        return f"it refused the login ({shown}); check SMTP_USERNAME and SMTP_PASSWORD"
    return f"its answer to the login is unexpected ({shown}); {WITHOUT_LOGIN}"


def _mail(settings: Settings, message: SupportMessage) -> EmailMessage:
    # Every mail server accepts 7bit; some do not accept 8BITMIME.
    mail = EmailMessage(policy=SMTP_POLICY.clone(cte_type="7bit"))
    # A line break in the subject would begin another header.
    mail["Subject"] = " ".join(message.subject.split())
    mail["From"] = settings.smtp_from
    mail["To"] = settings.support_email
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=settings.smtp_from.rpartition("@")[2])
    # Automatic responders do not answer such a mail.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    return mail


def _error_text(error: BaseException) -> str:
    """Return the server's answer, or the text of another error."""
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}".removeprefix("-1 ")
    if isinstance(error, SMTPServerDisconnected):
        return "the server closed the connection"
    if isinstance(error, TimeoutError):
        return f"no answer in {IDLE_SECONDS:g} s"
    if isinstance(error, SMTPConnectError):
        error = error.__cause__ or error
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed ({error.verify_message}), see SSL_CERT_FILE"
    return getattr(error, "strerror", None) or str(error) or "connection lost"
