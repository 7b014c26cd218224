"""The message of an alert: `text`, which is complete on its own, and `blocks`, both within Slack's limits.

`_fit` puts each value on one line, cuts it and then escapes it, so that no entity is cut in half. Only the
details link and the mention of an owner are markup. All other data is plain text, in which Slack formats
nothing and mentions no one.
"""

import html
from datetime import date
from itertools import accumulate
from typing import Any
from urllib.parse import quote

from core.alerts import RULES, shown_months, shown_streak
from core.domain import Alert, money, month_number, one_line
from core.runtime import Settings

HEADER_MAX = 150
VALUE_MAX, LINK_MAX, TEXT_VALUE_MAX = 1_900, 2_900, 6_000
"""With values of these lengths, each block, the link and `text` are within Slack's limits."""

_MONTH_SYMBOLS = ((6, "🔴"), (2, "🟠"), (1, "🟡"))
"""The symbol of a streak of at least this number of months."""
_ARR_SYMBOLS = (1, 100_000, 1_000_000)
"""One 💰 for each of these amounts that the ARR, in dollars, reaches."""
_SOON_MONTHS = 3
"""A renewal within this number of months has a ⏰."""


def details_url(app_base_url: str, account_id: str) -> str:
    """Return the URL of an account's page; the ID is encoded as one path segment."""
    return f"{app_base_url}/accounts/{quote(account_id, safe='')}"


def build_message(alert: Alert, month: date, settings: Settings) -> dict[str, Any]:
    """Return the JSON of one alert of `month`, in the words of its type.

    In single webhook mode it names its channel.
    """
    rule = RULES[alert.alert_type]
    risk = shown_streak(alert.alert_type, alert.risk_start_month, alert.duration_months)
    arr = money(alert.arr)
    owner = _line("Owner", alert.account_owner)
    member = owner and settings.owners.get(alert.account_owner or "")
    mention = f" (<@{member}>)" if member else ""
    url = details_url(settings.app_base_url, alert.account_id)
    channel = _line("Channel", f"#{alert.channel}") if settings.single_webhook else ""
    name, account_id = (_fit(value, TEXT_VALUE_MAX) for value in (alert.account_name, alert.account_id))
    text = [
        rule.headline.format(name=name, id=account_id),
        _line("Region", alert.account_region, TEXT_VALUE_MAX),
        risk,
        f"ARR: {arr}",
        f"Renewal date: {alert.renewal_date or 'Unknown'}",
        _line("Owner", alert.account_owner, TEXT_VALUE_MAX) + mention,
        f"Details: {_fit(url, TEXT_VALUE_MAX)}",
        channel,
    ]

    header = rule.headline.format(name=alert.account_name, id=alert.account_id)
    # A streak that ended before the month of the alert has no symbol.
    symbol = "" if rule.anchor else next(f"{one} " for n, one in _MONTH_SYMBOLS if alert.duration_months >= n)
    bags = "💰" * sum((alert.arr or 0) >= least for least in _ARR_SYMBOLS)
    fields = [
        _plain(_line("Region", alert.account_region)),
        _plain("ARR: " + f"{bags} {arr}".lstrip()),
        _plain(f"Renewal date: {_renewal(alert.renewal_date, month)}"),
        _mrkdwn(owner + mention) if mention else _plain(owner),
    ]
    notes = [f"As of {month:%B %Y}", channel]
    blocks = [
        {"type": "header", "text": _plain(_fit(header, HEADER_MAX))},
        {
            "type": "section",
            "text": _mrkdwn(f"{symbol}*{risk}*"),
            "fields": [field for field in fields if field["text"]],
        },
        # A link and not a button, because an incoming webhook cannot acknowledge the click on a button, as
        # Slack requires.
        {"type": "section", "text": _mrkdwn(f"Details: <{_fit(url, LINK_MAX)}>")},
        {"type": "context", "elements": [_plain(note) for note in notes if note]},
    ]
    return {"text": "\n".join(filter(None, text)), "blocks": blocks}


def _renewal(day: date | None, month: date) -> str:
    """Return the renewal date and how many calendar months it is away from the alert's month.

    The months are counted from the alert's month, so that the message does not depend on the day of sending.
    """
    if day is None:
        return "Unknown"
    away = month_number(day) - month_number(month)
    near = {-1: "last month", 0: "this month", 1: "next month"}.get(away)
    if near is None:
        near = f"in {shown_months(away)}" if away > 0 else f"{shown_months(-away)} ago"
    return f"{'⏰ ' if 0 <= away <= _SOON_MONTHS else ''}{day} ({near})"


def _line(label: str, value: str | None, limit: int = VALUE_MAX) -> str:
    """Return `label: value`, or an empty text for a blank value."""
    return f"{label}: {_fit(value, limit)}" if value and one_line(value).strip() else ""


def _fit(data: str, limit: int = VALUE_MAX) -> str:
    """Return `data` on one line of at most `limit` characters after escaping, cut with `…`."""
    # One character more than fits shows whether to cut; the rest of a very long name is not processed.
    line = one_line(data[: limit + 1])
    if len(escaped := _escape(line)) <= limit:
        return escaped
    # The last of the `limit` characters is the `…`.
    kept = sum(size < limit for size in accumulate(len(_escape(character)) for character in line))
    return _escape(line[:kept]) + "…"


def _escape(text: str) -> str:
    """Escape Slack's three control characters and nothing else."""
    return html.escape(text, quote=False)


def _mrkdwn(text: str) -> dict[str, Any]:
    # With `verbatim`, Slack makes no links or mentions of words that are not markup.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> dict[str, Any]:
    # The text is escaped as in mrkdwn, because Slack stores plain_text in that form too and shows `&amp;` as
    # `&`. Nothing in plain_text mentions anyone.
    return {"type": "plain_text", "text": text, "emoji": False}
