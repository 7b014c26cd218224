"""Support: the notification of what is open in a month, and the mail that carries it."""

from core.support.mail import TOTAL_SECONDS, MailError, send_mail, try_login
from core.support.notification import NotificationResult, compose, notify

__all__ = ["TOTAL_SECONDS", "MailError", "NotificationResult", "compose", "notify", "send_mail", "try_login"]
