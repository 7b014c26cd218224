"""Slack: the message of an alert, the client that posts it, and the verdict on the answer."""

from core.slack.client import SlackWebhooks
from core.slack.message import build_message, details_url
from core.slack.retry import Pacer, post_with_retries
from core.slack.verdicts import Answer
