"""Layout of bar charts as numbers, which a template writes as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, FLOOR, TOP = 480.0, 170.0, 146.0, 22.0
"""Size of the drawing, the y of the foot of its bars, and the y where the highest bar ends."""

_WIDEST = 54.0
_LABELS = 7
"""At most so many bars have a label: all of them, or each second, third, …"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its place, its value above and its label below; `named` if the label has room."""

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
    """Return the layout of bars, each given by label, height in any unit, and that height as text."""
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
    """Return dollars in three digits: `$950`, `$12.3K`, `$4.56M`."""
    amount = float(dollars)
    for unit in ("", "K", "M"):
        if abs(amount) < 999.5:  # noqa: PLR2004  # a larger number would have four digits
            return f"${amount:.3g}{unit}"
        amount /= 1000
    return f"${amount:,.3g}B" if abs(amount) < 999.5 else f"${amount:,.0f}B"  # noqa: PLR2004
