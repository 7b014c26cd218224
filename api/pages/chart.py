"""Bars over the months as numbers that a template writes as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, FLOOR, TOP = 480.0, 170.0, 146.0, 22.0
"""Of the drawing, where its bars stand, and where the highest one ends."""

_WIDEST = 54.0
_LABELS = 7
"""As many months are named below the bars, or each second, third, … of them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its place, what stands above it, and below it where there is room."""

    x: float
    y: float
    width: float
    height: float
    middle: float
    value: str
    label: str
    named: bool
    last: bool


def bars(values: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """Lay bars out, each given by its label, its height in any unit and how that is written."""
    if not values:
        return []
    highest = max(1, *(number for _, number, _ in values))
    slot = WIDTH / len(values)
    width = min(slot * 0.66, _WIDEST)
    step = -(-len(values) // _LABELS)
    found = []
    for place, (label, number, written) in enumerate(values):
        height = round((FLOOR - TOP) * max(number, 0) / highest, 1)
        middle = round(slot * (place + 0.5), 1)
        named = (len(values) - 1 - place) % step == 0
        last = place == len(values) - 1
        x, y = round(middle - width / 2, 1), round(FLOOR - height, 1)
        found.append(Bar(x, y, round(width, 1), height, middle, written, label, named, last))
    return found


def short_money(dollars: int) -> str:
    """Write dollars in three digits: `$950`, `$12.3K`, `$4.56M`."""
    amount = float(dollars)
    for unit in ("", "K", "M"):
        if abs(amount) < 999.5:  # noqa: PLR2004  # what would be written with four digits
            return f"${amount:.3g}{unit}"
        amount /= 1000
    return f"${amount:,.3g}B" if abs(amount) < 999.5 else f"${amount:,.0f}B"  # noqa: PLR2004
