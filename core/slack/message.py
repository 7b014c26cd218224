"""The message of an alert: `text`, which is complete on its own, and `blocks`, both within Slack's limits.

`one_line` removes line breaks from data, then `_fit` cuts and escapes it, so that no entity is cut in half.
Only the details link and the mention of an owner are markup. All other data is plain text, in which Slack
formats nothing and mentions no one.
"""

import html
from collections.abc import Iterator
from datetime import date
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import quote

from core.alerts import RULES, months, streak
from core.domain import Alert, month_number, months_before
from core.runtime import Settings, money, one_line

TEXT_MAX = 40_000
HEADER_MAX = 150
SECTION_MAX = 3_000
FIELD_MAX = 2_000

_TEXT_SHARE = 6_000
"""If `text` is too long, each of its six values is cut to this length; together they fit in TEXT_MAX."""
_HEADER_ID_SHARE = 60
"""In a header that is too long, the ID may take at least this length; the name gets the rest."""

_MONTHS_CUES = ((6, "🔴"), (2, "🟠"), (1, "🟡"))
"""The cue of a streak of at least this number of months."""
_ARR_CUES = (1, 100_000, 1_000_000)
"""One 💰 for each of these amounts that the ARR, in dollars, reaches."""
_SOON_MONTHS = 3
"""A renewal within this number of months has a ⏰."""


def details_url(app_base_url: str, account_id: str) -> str:
    """Return the URL of an account's page; the ID is encoded as one path segment."""
    # "surrogatepass" because any id must have a URL; the default would raise for a lone surrogate.
    return f"{app_base_url}/accounts/{quote(account_id, safe='', errors='surrogatepass')}"


def build_message(alert: Alert, settings: Settings) -> dict[str, Any]:
    """Return the JSON of one alert, in the words of its type. In single webhook mode it names its channel."""
    text = "\n".join(filter(None, _lines(alert, settings, TEXT_MAX)))
    if len(text) > TEXT_MAX:
        text = "\n".join(filter(None, _lines(alert, settings, _TEXT_SHARE)))
    return {"text": text, "blocks": list(_blocks(alert, settings))}


class _Lines(NamedTuple):
    """The lines of the text in their order; an empty one is left out."""

    headline: str
    region: str
    streak: str
    arr: str
    renewal: str
    owner: str
    details: str
    channel: str


def _lines(alert: Alert, settings: Settings, limit: int) -> _Lines:
    """Return the lines, with each value cut to `limit` characters."""
    member = settings.owners.get(alert.account_owner or "")
    mention = f" (<@{member}>)" if member else ""
    owner = _line("Owner", alert.account_owner, limit - len(mention))
    channel = f"#{(alert.channel or '').removeprefix('#')}" if settings.single_webhook else ""
    return _Lines(
        headline=RULES[alert.alert_type].headline.format(
            name=_fit(alert.account_name, limit), id=_fit(alert.account_id, limit)
        ),
        region=_line("Region", alert.account_region, limit),
        streak=streak(alert.alert_type, alert.risk_start_month, alert.duration_months),
        arr=_line("ARR", money(alert.arr)),
        renewal=_line("Renewal date", str(alert.renewal_date or "Unknown")),
        owner=owner and owner + mention,
        details=_line("Details", details_url(settings.app_base_url, alert.account_id), limit),
        channel=_line("Channel", channel, limit),
    )


def _blocks(alert: Alert, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the blocks: the same lines, with cues for the streak, the ARR and the renewal."""
    rule = RULES[alert.alert_type]
    lines = _lines(alert, settings, FIELD_MAX)
    yield {"type": "header", "text": _plain(_header(alert, rule.headline))}
    # The streak may end before the month of the alert.
    month = months_before(alert.risk_start_month, 1 + rule.anchor - alert.duration_months)
    bags = "💰" * sum((alert.arr or 0) >= least for least in _ARR_CUES)
    fields = [
        _plain(lines.region),
        _plain(f"ARR: {bags} {money(alert.arr)}" if bags else lines.arr),
        _plain(f"Renewal date: {_renewal(alert.renewal_date, month)}"),
        _mrkdwn(lines.owner) if alert.account_owner in settings.owners else _plain(lines.owner),
    ]
    cue = next(f"{cue} " for least, cue in _MONTHS_CUES if alert.duration_months >= least)
    yield {
        "type": "section",
        "text": _mrkdwn(f"{cue if rule.streak_cue else ''}*{lines.streak}*"),
        "fields": [field for field in fields if field["text"]],
    }
    # A link and not a button, because an incoming webhook cannot acknowledge the click on a button, as Slack
    # requires. A link that is too long is left out, because half of it would be useless.
    url = one_line(details_url(settings.app_base_url, alert.account_id))
    link = f"Details: <{_escape(url.replace('|', '%7C'))}>"
    if len(link) <= SECTION_MAX:
        yield {"type": "section", "text": _mrkdwn(link)}
    notes = [f"As of {month:%B %Y}", lines.channel]
    yield {"type": "context", "elements": [_plain(note) for note in notes if note]}


def _header(alert: Alert, headline: str) -> str:
    """Return the headline within a header's limit; cut the name before the ID."""
    free = HEADER_MAX - len(headline.format(name="", id=""))
    name = _fit(alert.account_name, free)
    account_id = _fit(alert.account_id, max(_HEADER_ID_SHARE, free - len(name)))
    return headline.format(name=_fit(alert.account_name, free - len(account_id)), id=account_id)


def _renewal(day: date | None, month: date) -> str:
    """Return the renewal date and how many calendar months it is away from the alert's month.

    The months are counted from the alert's month, so that the message does not depend on the day of sending.
    """
    if day is None:
        return "Unknown"
    away = month_number(day) - month_number(month)
    near = {-1: "last month", 0: "this month", 1: "next month"}.get(away)
    if near is None:
        near = f"in {months(away)}" if away > 0 else f"{months(-away)} ago"
    return f"{'⏰ ' if 0 <= away <= _SOON_MONTHS else ''}{day} ({near})"


def _line(label: str, value: str | None, limit: int = TEXT_MAX) -> str:
    """Return `label: value` of at most `limit` characters, or an empty text for a blank value."""
    if value is None or not one_line(value).strip():
        return ""
    return f"{label}: {_fit(value, limit - len(label) - 2)}"


def _fit(data: str, limit: int) -> str:
    """Return `data` on one line of at most `limit` characters after escaping, cut with `…`."""
    # One character more than fits shows whether to cut; the rest of a very long name is not processed.
    line = one_line(data[: limit + 1])
    if len(escaped := _escape(line)) <= limit:
        return escaped
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
