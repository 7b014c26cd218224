"""One mail to support, over SMTP."""

import smtplib
import socket
import ssl
from contextlib import suppress
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

_REASON_MAX = 500


class MailError(Exception):
    """The mail server did not confirm the mail or the login; the text has the reason, without secrets."""


def send_mail(settings: Settings, message: SupportMessage | None) -> None:
    """Send `message` to `SUPPORT_EMAIL`, or only log in to the mail server without one.

    Raises `MailError` unless the mail server has accepted the mail or the login.
    """
    session = _Session()
    # In a thread, which allows one timeout for all steps.
    ended = in_thread(lambda: session.run(settings, message), "support-mail")
    try:
        ended.result(TOTAL_SECONDS)
    except TimeoutError:
        if not session.accepted:
            raise _unconfirmed(f"it took longer than {TOTAL_SECONDS:g} s") from None
    finally:
        session.leave()


class _Session:
    """A session with the mail server, in a thread of its own, which its caller may end at any time."""

    def __init__(self) -> None:
        self.smtp: smtplib.SMTP | None = None
        self.accepted = False
        self._left = False

    def leave(self) -> None:
        """End the session; nothing more is sent."""
        self._left = True
        if self.smtp and self.smtp.sock:
            with suppress(OSError):
                # The TLS socket's own method would let another thread send its bytes unencrypted.
                socket.socket.shutdown(self.smtp.sock, socket.SHUT_RDWR)

    def run(self, settings: Settings, message: SupportMessage | None) -> None:
        """Connect, log in, and send the message, if any."""
        try:
            mail = _mail(settings, message) if message else None
            smtp = _connect(settings, self)
            _encrypt(smtp, settings)
            _login(smtp, settings)
            if self._left:
                raise MailError("the session was given up")
            if mail:
                smtp.send_message(mail)
            self.accepted = True
            # The server has accepted the mail, so an error of QUIT does not matter.
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _unconfirmed(_error_text(error)) from None
        finally:
            if self.smtp:
                self.smtp.close()


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
    mail["From"] = settings.smtp_from
    mail["To"] = settings.support_email
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=settings.smtp_from.rpartition("@")[2])
    # Automatic responders do not answer such a mail.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    return mail


def _encrypt(smtp: smtplib.SMTP, settings: Settings) -> None:
    """Encrypt the session according to `SMTP_STARTTLS`: always, never, or if the server offers TLS.

    A password is sent without encryption only if the setting is false.
    """
    if isinstance(smtp, smtplib.SMTP_SSL) or settings.smtp_starttls is False:
        return
    smtp.ehlo_or_helo_if_needed()
    if smtp.has_extn("starttls"):
        smtp.starttls(context=ssl.create_default_context())
    elif settings.smtp_starttls:
        raise MailError("it offers no TLS; change SMTP_PORT or SMTP_STARTTLS")
    elif settings.smtp_password:
        why = "it offers no TLS, and the password is not sent without it"
        raise MailError(f"{why}; change SMTP_PORT, or set SMTP_STARTTLS to false")


def _login(smtp: smtplib.SMTP, settings: Settings) -> None:
    if settings.smtp_username is None or settings.smtp_password is None:
        return
    try:
        smtp.login(settings.smtp_username, settings.smtp_password.get_secret_value())
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPNotSupportedError:
        advice = "unset SMTP_USERNAME and SMTP_PASSWORD, or change SMTP_PORT"
        raise MailError(f"it offers no login; {advice}") from None
    # The server's words may repeat the password in an encoding that redaction does not know.
    except smtplib.SMTPAuthenticationError as error:
        advice = "check SMTP_USERNAME and SMTP_PASSWORD"
        raise MailError(f"it refused the login ({error.smtp_code}); {advice}") from None
    except (smtplib.SMTPException, ValueError):
        raise MailError("the login failed; it must offer PLAIN, LOGIN or CRAM-MD5") from None


def _unconfirmed(why: str) -> MailError:
    return MailError(f"{one_line(redact(why))[:_REASON_MAX]}; check SMTP_HOST, SMTP_PORT and that server")


def _error_text(error: Exception) -> str:
    """Return the server's answer, or the text of another error."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        error = smtplib.SMTPResponseException(*next(iter(error.recipients.values())))
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error
        return f"{error.smtp_code} {words.decode(errors='replace') if isinstance(words, bytes) else words}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed ({error.verify_message}), see SSL_CERT_FILE"
    return getattr(error, "strerror", None) or str(error) or "no reason given"
