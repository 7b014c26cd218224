"""Support: the notification about a month's open alerts, and its mail."""

from core.support.mail import *
from core.support.notification import *
