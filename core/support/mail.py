"""One mail to support, over SMTP."""

import asyncio
import socket
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, make_msgid

import aiosmtplib

from core.domain import SupportMessage, one_line
from core.runtime import Settings, in_thread, redact

IDLE_SECONDS = 10.0
"""The longest wait for one answer of the mail server."""
TOTAL_SECONDS = 30.0
"""The longest time for a whole mail, from the connection until the server has accepted it."""
IMPLICIT_TLS_PORT = 465


class MailError(Exception):
    """The mail server did not confirm the mail or the login; the text has the reason, without secrets."""


def send_mail(settings: Settings, message: SupportMessage | None) -> None:
    """Send `message` to `SUPPORT_EMAIL`, or only log in to the mail server without one.

    Raises `MailError` unless the mail server has accepted the mail or the login.
    """
    # In a thread, because the caller's thread may have an event loop.
    sending = in_thread(lambda: asyncio.run(_send(settings, message)), "support-mail")
    try:
        # Longer than the limits of `_send`, which cannot end a name lookup that hangs.
        sending.result(TOTAL_SECONDS + IDLE_SECONDS + 1)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise MailError(_error_text(error)) from None


async def _send(settings: Settings, message: SupportMessage | None) -> None:
    async with asyncio.timeout(TOTAL_SECONDS) as limit, _client(settings) as smtp:
        if message:
            await smtp.mail(settings.smtp_from)
            await smtp.rcpt(settings.support_email)
            await smtp.data(_mail(settings, message).as_bytes())
        # The server has accepted the mail, so QUIT needs no more than the limit of one answer.
        limit.reschedule(None)


def _client(settings: Settings) -> aiosmtplib.SMTP:
    """Return a client that connects, encrypts and logs in when it is entered."""
    password, name = settings.smtp_password, socket.getfqdn()
    encrypted = settings.smtp_port == IMPLICIT_TLS_PORT
    # None means: use STARTTLS if the server offers it.
    start_tls = True if password and settings.smtp_starttls is None else settings.smtp_starttls
    return aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_username,
        password=password.get_secret_value() if password else None,
        # Some servers refuse a name without a domain.
        local_hostname=name if "." in name else "[127.0.0.1]",
        timeout=IDLE_SECONDS,
        use_tls=encrypted,
        start_tls=False if encrypted else start_tls,
    )


def _mail(settings: Settings, message: SupportMessage) -> EmailMessage:
    # Every mail server accepts 7bit; some do not accept 8BITMIME.
    mail = EmailMessage(policy=SMTP_POLICY.clone(cte_type="7bit"))
    mail["Subject"] = message.subject
    mail["From"] = settings.smtp_from
    mail["To"] = settings.support_email
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=settings.smtp_from.rpartition("@")[2])
    # Automatic responders do not answer such a mail.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    return mail


def _error_text(error: Exception) -> str:
    """Return what happened and what to check."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        # The server's words may repeat the password in an encoding that redaction does not know.
        return f"it refused the login ({error.code}); check SMTP_USERNAME, SMTP_PASSWORD and SMTP_STARTTLS"
    why = str(error).rstrip(".") or f"it took longer than {TOTAL_SECONDS:g} s"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        # aiosmtplib sets a negative code for an answer that is not SMTP; its text may repeat the login.
        why = f"{error.code} {error.message}" if error.code > 0 else "its answer is not SMTP"
    if "certificate verify failed" in why:
        why += ", see SSL_CERT_FILE"
    checked = "SMTP_HOST, SMTP_PORT, SMTP_STARTTLS"
    if isinstance(error, aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPRecipientRefused):
        checked = "SMTP_FROM, SUPPORT_EMAIL, SMTP_USERNAME"
    return f"{one_line(redact(why))[:500]}; check {checked} and that server"
