"""Text for people: data on one line, amounts of money, lengths of time."""

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


def shown_region(region: str | None) -> str:
    """Return a region for a report; in quotes when a blank at an end would not be seen."""
    if not region:
        return "(null)" if region is None else "(empty)"
    return one_line(region) if region == region.strip() else f'"{one_line(region)}"'
