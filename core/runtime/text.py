"""Text for people: regions and amounts of money."""

from core.domain import one_line


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
