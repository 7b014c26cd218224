"""Text for people: data on one line, amounts of money, lengths of time."""

from datetime import date

from core.alerts import RULES
from core.domain import DEFAULT_ALERT_TYPE, months_before

# Characters that break a line, or hide or reorder text: C0, DEL and C1 controls, the Unicode line and
# paragraph separators, bidi embeddings, overrides and isolates (an override shows an ID backwards), and lone
# surrogates, which UTF-8 cannot encode. Joiners and marks stay, because many scripts need them.
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
    """Replace every line break, control character and bidi control of `data` with a space."""
    return data.translate(_UNPRINTABLE)


def money(amount: int | None) -> str:
    """Return whole dollars as `$1,234,567`, `-$5`, or `Unknown`."""
    if amount is None:
        return "Unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,}"


def months(count: int) -> str:
    """Return a number of months as `1 month` or `2 months`."""
    return f"{count} {'month' if count == 1 else 'months'}"


def streak(alert_type: str, start: date, count: int) -> str:
    """Return how long an account is or was at risk, in the words of the alert type."""
    # An old run may have alerts of a type that does not exist any more.
    rule = RULES.get(alert_type, RULES[DEFAULT_ALERT_TYPE])
    return rule.streak.format(months=months(count), start=start, end=months_before(start, 1 - count))


def shown_region(region: str | None) -> str:
    """Return a region for a report; in quotes if it begins or ends with a blank, which would be invisible."""
    if not region:
        return "(null)" if region is None else "(empty)"
    return one_line(region) if region == region.strip() else f'"{one_line(region)}"'
