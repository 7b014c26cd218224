"""The reasons of an alert's result: meaning, whether it is retried, and what a person should do."""

from dataclasses import dataclass
from enum import StrEnum

from core.domain.alerts import AlertStatus

UNKNOWN_REGION = "unknown_region"
PROCESS_DIED = "process_died"
RETRY_OF_UNCONFIRMED = "retry_of_unconfirmed"


class Verdict(StrEnum):
    """The result of one attempt to post a message."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Not delivered; another attempt may succeed."""
    REFUSED = "refused"
    """Not delivered, and no attempt will succeed; another message may."""
    CHANNEL_REFUSED = "channel_refused"
    """Not delivered, and Slack refuses every message of the channel or the single webhook."""
    UNCONFIRMED = "unconfirmed"
    """May have been delivered: the request was sent, and no usable answer came."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The meaning of a reason, and what to do about an alert with it."""

    meaning: str
    fix: str = "see the error and remove its cause"
    """What to do first, also after a failed test message; empty if there is nothing to do."""
    then: str = "run the month again"
    retried: bool = False
    """Whether a run retries the message; the code is then a label of the metric of deliveries."""
    channel_wide: bool = False
    """Whether Slack refuses every message of the channel, so that the run does not try the others."""


def _of_the_channel(meaning: str) -> Reason:
    return Reason(meaning, "fix the channel or its webhook", channel_wide=True)


def _unconfirmed(meaning: str) -> Reason:
    return Reason(
        meaning, "it may have been posted: look in the channel", "resolve it with risk-alerts resolve"
    )


REASONS = {
    UNKNOWN_REGION: Reason(
        "the region has no channel", "give the region a channel in REGIONS, or fix the source"
    ),
    "rate_limited": Reason(
        "Slack answered 429 to every attempt", "wait until Slack is less busy", retried=True
    ),
    "server_error": Reason(
        "Slack answered 5xx to every attempt", "wait until Slack has no errors", retried=True
    ),
    "connection_failed": Reason(
        "no connection to Slack was made", "check the network, the proxy and the webhook's URL", retried=True
    ),
    "redirected": Reason("Slack answered with a redirect", "the webhook's URL is no longer Slack's: fix it"),
    "slack_refused": Reason("Slack refused the message and named no cause"),
    "no_answer": _unconfirmed("the request was sent, and no usable answer came"),
    PROCESS_DIED: _unconfirmed("the run ended between the request and its answer"),
    RETRY_OF_UNCONFIRMED: _unconfirmed("sent again on request, though it may have been delivered before"),
    "already_sent": Reason("an earlier run sent it", "", "nothing to do"),
    "being_sent_by_another_run": Reason("another run sends it now", "", "nothing to do: that run reports it"),
    "resolved_delivered": Reason("a person found it in the channel", "", "nothing to do"),
    "resolved_send_again": Reason("a person did not find it in the channel", ""),
    "interrupted": Reason("the run was stopped before Slack accepted the alert", ""),
    "account_inactive": _of_the_channel("the Slack account is inactive"),
    "action_prohibited": _of_the_channel("an administrator has restricted the webhook"),
    "channel_is_archived": _of_the_channel("the channel is archived"),
    "channel_not_found": _of_the_channel("the channel does not exist"),
    "invalid_auth": _of_the_channel("the webhook's credentials are invalid"),
    "invalid_token": _of_the_channel("the webhook's token is invalid"),
    "is_archived": _of_the_channel("the channel is archived"),
    "no_active_hooks": _of_the_channel("the webhook is disabled"),
    "no_service": _of_the_channel("the webhook is disabled, removed or invalid"),
    "no_service_id": _of_the_channel("the webhook's address is incomplete"),
    "no_team": _of_the_channel("the Slack workspace does not exist"),
    "not_in_channel": _of_the_channel("the app is not in the channel"),
    "posting_to_general_channel_denied": _of_the_channel("posting to the general channel is restricted"),
    "team_disabled": _of_the_channel("the Slack workspace is disabled"),
    "token_revoked": _of_the_channel("the webhook's token is revoked"),
    "user_not_found": _of_the_channel("the user of the webhook does not exist"),
}
"""The reasons by code. Others exist: Slack may send new words, and alerts get the code of a failed run."""

RETRIED = tuple(code for code, reason in REASONS.items() if reason.retried)
METRIC_LABELS = (*RETRIED, *(verdict.value for verdict in Verdict if verdict is not Verdict.RETRY))
"""The labels of the metric of deliveries: the reason of a retried answer, the verdict of any other.

Slack's own words are no labels, since their number is unlimited.
"""


def reason_of(code: str | None) -> Reason:
    """Return what is known about a code."""
    return REASONS.get(code or "", Reason(""))


def advice(reason: str | None, status: AlertStatus) -> str:
    """Return what a person should do about an open alert.

    The status decides for an unconfirmed alert: its reason may be that of a later attempt, which failed.
    """
    known = reason_of("no_answer" if status is AlertStatus.UNCONFIRMED else reason)
    return "; then ".join(filter(None, (known.fix, known.then)))
