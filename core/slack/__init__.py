"""Slack: the message of an alert, the client that posts it, and the verdict on the answer."""

from core.slack.client import *
from core.slack.message import *
from core.slack.retry import *
from core.slack.verdicts import *
