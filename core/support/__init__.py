"""Support: the notification about a month's open alerts, and its mail."""

from core.support.mail import MailError, send_mail
from core.support.notification import compose, notify
