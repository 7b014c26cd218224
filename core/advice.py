"""What a person does about the alerts that were not delivered, or not surely, by their reason."""

from collections import defaultdict
from collections.abc import Iterable

from core.domain import AlertStatus
from core.errors import Interrupted
from core.slack import CHANNEL_WIDE_WORDS
from core.views import AlertView

AGAIN = "then run the month again"
LOOK = "it may have been posted: look in the channel for it, then settle it"

_BY_REASON = {
    "unknown_region": f"give the region a channel in REGIONS, or have the source mended; {AGAIN}",
    "redirected": f"the webhook's address is not Slack's any more: mend it; {AGAIN}",
    "rate_limited": "Slack was busy through all tries: run the month again later",
    "server_error": "Slack was in trouble through all tries: run the month again later",
    "connection_failed": f"look at the network, the proxy and the address; {AGAIN}",
    "invalid_url": f"mend the webhook's address; {AGAIN}",
    Interrupted.code: "the run was stopped before its turn: run the month again",
}


def open_by_reason(alerts: Iterable[AlertView]) -> list[tuple[str, str, list[AlertView]]]:
    """Put what was not delivered, or not surely, together by reason, each with what to do about it."""
    found: dict[tuple[str, AlertStatus], list[AlertView]] = defaultdict(list)
    for alert in alerts:
        if alert.status in {AlertStatus.FAILED, AlertStatus.UNCONFIRMED}:
            found[alert.reason or alert.status.value, alert.status].append(alert)
    return [(reason, _advice(reason, status), those) for (reason, status), those in sorted(found.items())]


def _advice(reason: str, status: AlertStatus) -> str:
    """Say what to do; for a code of ours or a word of Slack's without a line of its own, in general.

    Of an unconfirmed alert the reason may be that of a later try, which surely failed. The first may have
    been delivered all the same, and running the month again sends it no more.
    """
    if status is AlertStatus.UNCONFIRMED:
        return LOOK
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if reason in CHANNEL_WIDE_WORDS:
        return f"mend the channel or its webhook; {AGAIN}"
    return f"see the error; when its cause is gone, {AGAIN.removeprefix('then ')}"
