"""Text for people: data on one line, regions and amounts of money."""

import re

# Characters that break a line, or hide or reorder text: C0, DEL and C1 controls, the Unicode line and
# paragraph separators, bidi embeddings, overrides and isolates (an override shows an ID backwards), and lone
# surrogates, which UTF-8 cannot encode. Joiners and marks stay, because many scripts need them.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(data: str) -> str:
    """Replace with a space each character of `data` that would forge a line of a message or of the log."""
    return _UNPRINTABLE.sub(" ", data)


def money(amount: int | None) -> str:
    """Return whole dollars as `$1,234,567`, `-$5`, or `Unknown`."""
    if amount is None:
        return "Unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,}"


def shown_region(region: str | None) -> str:
    """Return a region for a report; in quotes if it begins or ends with a blank, which would be invisible."""
    if not region:
        return "(null)" if region is None else "(empty)"
    return one_line(region) if region == region.strip() else f'"{one_line(region)}"'
