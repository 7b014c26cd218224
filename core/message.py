"""An alert as Slack gets it: `text` that is complete on its own, and `blocks` within Slack's limits.

Data is made harmless in two steps, always in this order: `one_line` (no datum forges a line), then `_fit`
(cut first, then escape, so that no entity is cut in half). Everything else in a message is ours.
"""

from calendar import month_name
from datetime import date
from typing import Any, TypeGuard
from urllib.parse import quote

from core.domain import Alert, month_number

TEXT_MAX = 40_000
HEADER_MAX = 150
SECTION_MAX = 3_000
FIELD_MAX = 2_000

_TEXT_SHARE = 6_000
"""What each of the six data of a too long `text` is cut to: together with the labels below TEXT_MAX."""
_HEADER_ID_SHARE = 60
"""What the id may always take of a too long header; the name gets the rest, so that both are there."""

_MONTHS_CUES = ((6, "🔴"), (2, "🟠"), (1, "🟡"))
"""What stands before a streak of at least so many months."""
_ARR_CUES = (1, 100_000, 1_000_000)
"""One 💰 for each of these that the ARR, in dollars, reaches."""
_SOON_MONTHS = 3
"""A renewal in so many months or less has a ⏰."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# What could break a line, or hide or reorder what a person reads: C0, DEL and C1 controls, the Unicode line
# and paragraph separators, the bidi embeddings, overrides and isolates (an override shows an id backwards),
# and lone surrogates, which no UTF-8 body can carry. Joiners and marks stay: many scripts need them.
_UNPRINTABLE = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    ],
    " ",
)


def one_line(data: str) -> str:
    """Put a space for every line break, control character and bidi control of `data`."""
    return data.translate(_UNPRINTABLE)


def details_url(app_base_url: str, account_id: str) -> str:
    """Give the page of an account; its id is one path segment whatever it holds."""
    # "surrogatepass" because any id must have a URL; the default would raise for a lone surrogate.
    return f"{app_base_url}/accounts/{quote(account_id, safe='', errors='surrogatepass')}"


def money(amount: int | None) -> str:
    """Write whole dollars: `$1,234,567`, `-$5`, or `Unknown`."""
    if amount is None:
        return "Unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,}"


def at_risk_for(alert: Alert) -> str:
    """Write the streak: `3 months (since 2025-11-01)`."""
    unit = "month" if alert.duration_months == 1 else "months"
    return f"{alert.duration_months} {unit} (since {alert.risk_start_month.isoformat()})"


def build_message(alert: Alert, *, channel: str, app_base_url: str, name_channel: bool) -> dict[str, Any]:
    """Build the JSON of one alert; it names its `channel` if `name_channel` is set (single webhook mode)."""
    url = details_url(app_base_url, alert.account_id)
    named = f"#{channel.removeprefix('#')}" if name_channel else None
    text = _text(alert, url, named, TEXT_MAX)
    if len(text) > TEXT_MAX:
        text = _text(alert, url, named, _TEXT_SHARE)
    return {"text": text, "blocks": _blocks(alert, url, named)}


def _text(alert: Alert, url: str, channel: str | None, share: int) -> str:
    """Write the lines of the contract, each datum cut to `share` characters."""
    lines = [f"🚩 At Risk: {_fit(alert.account_name, share)} ({_fit(alert.account_id, share)})"]
    lines += [f"{label}: {_fit(value, share)}" for label, value in _facts(alert)]
    lines.append(f"Details: {_fit(url, share)}")
    if channel is not None:
        lines.append(f"Channel: {_fit(channel, share)}")
    return "\n".join(lines)


def _blocks(alert: Alert, url: str, channel: str | None) -> list[dict[str, Any]]:
    """Lay the same facts out in blocks, data in plain_text: there `*`, `_`, `~` and `:emoji:` do nothing."""
    fields = [
        ("Region", alert.account_region),
        ("Owner", alert.account_owner),
        ("Renewal date", _renewal(alert)),
        ("At Risk since", alert.risk_start_month.isoformat()),
    ]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(_header(alert))},
        _section(_severity(alert)),
        {
            "type": "section",
            "fields": [
                _plain(f"{label}\n{_fit(value, FIELD_MAX - len(label) - 1)}")
                for label, value in fields
                if _is_shown(value)
            ],
        },
    ]
    # A link rather than a button: Slack wants an app to acknowledge clicks on buttons, also on those that
    # only open a page, and an incoming webhook has nothing that could. Half a link leads nowhere, so one that
    # is too long is left out.
    link = f"<{_escape(one_line(url).replace('|', '%7C'))}|Open account details>"
    if len(link) <= SECTION_MAX:
        blocks.append(_section(link))
    notes = [f"As of {_month_name(alert)}"]
    if channel is not None:
        notes.append(f"Channel: {_fit(channel, FIELD_MAX - len('Channel: '))}")
    blocks.append({"type": "context", "elements": [_plain(note) for note in notes]})
    return blocks


def _severity(alert: Alert) -> str:
    """Write what a person weighs an alert by, each with a cue that is nothing but the number's size."""
    months = alert.duration_months
    cue = next(cue for least, cue in _MONTHS_CUES if months >= least)
    streak = "*New*: first month at risk" if months == 1 else f"*{months} months* at risk"
    if alert.arr is None:
        return f"{cue} {streak}  ·  *ARR unknown*"
    bags = sum(alert.arr >= least for least in _ARR_CUES) * "💰"
    return f"{cue} {streak}  ·  {bags}{' ' if bags else ''}*{money(alert.arr)}* ARR"


def _renewal(alert: Alert) -> str:
    """Write the renewal date and how many calendar months it is from the alert's month.

    From that month and not from today: the message of a month is the same whenever it is sent.
    """
    if alert.renewal_date is None:
        return "Unknown"
    away = month_number(alert.renewal_date) - _last_month(alert)
    near = {-1: "last month", 0: "this month", 1: "next month"}.get(away)
    if near is None:
        near = f"in {away} months" if away > 0 else f"{-away} months ago"
    soon = "⏰ " if 0 <= away <= _SOON_MONTHS else ""
    return f"{soon}{alert.renewal_date.isoformat()} ({near})"


def _month_name(alert: Alert) -> str:
    year, month = divmod(_last_month(alert), 12)
    return f"{month_name[month + 1]} {year}"


def _last_month(alert: Alert) -> int:
    """Give the month that the alert is of, the last of its streak, in months since year 0."""
    return month_number(alert.risk_start_month) + alert.duration_months - 1


def _header(alert: Alert) -> str:
    """Write the first line within a header's limit, the name cut before the id is."""
    free = HEADER_MAX - len("🚩 At Risk:  ()")
    name = _fit(alert.account_name, free)
    account_id = _fit(alert.account_id, max(_HEADER_ID_SHARE, free - len(name)))
    return f"🚩 At Risk: {_fit(alert.account_name, free - len(account_id))} ({account_id})"


def _facts(alert: Alert) -> list[tuple[str, str]]:
    """List what is known of an alert, label and value, in the order of the contract."""
    facts: list[tuple[str, str | None]] = [
        ("Region", alert.account_region),
        ("At Risk for", at_risk_for(alert)),
        ("ARR", money(alert.arr)),
        ("Renewal date", _day(alert.renewal_date)),
        ("Owner", alert.account_owner),
    ]
    return [(label, value) for label, value in facts if _is_shown(value)]


def _is_shown(value: str | None) -> TypeGuard[str]:
    """Whether there is anything to see of it."""
    return value is not None and bool(one_line(value).strip())


def _day(day: date | None) -> str:
    return "Unknown" if day is None else day.isoformat()


def _fit(data: str, limit: int) -> str:
    """Make `data` one line of at most `limit` characters as Slack gets them, cut with `…`, then escaped."""
    # One more than fits says that it must be cut; a name of a gigabyte is not worth a look at the rest.
    line = one_line(data[: limit + 1])
    escaped = _escape(line)
    if len(escaped) <= limit:
        return escaped
    size = kept = 0
    for character in line:
        size += len(_ENTITIES.get(character, character))
        if size > limit - 1:
            break
        kept += 1
    return _escape(line[:kept]) + "…"


def _escape(text: str) -> str:
    """Escape Slack's three control characters and nothing else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _plain(text: str) -> dict[str, Any]:
    # Escaped like mrkdwn: Slack keeps and hands back all text in that form, plain_text too, and shows `&amp;`
    # as `&`. Nothing in plain_text mentions anyone: at worst a person would see an entity, never be pinged.
    return {"type": "plain_text", "text": text, "emoji": False}
