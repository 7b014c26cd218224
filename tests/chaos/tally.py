"""Counts of all worlds."""

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.plan import FaultKind

FAULTS = [*(kind for kind in FaultKind if kind is not FaultKind.NONE), "outages of Prefect"]
COUNTED = ["rounds", "runs", *FAULTS, "alerts posted", "unconfirmed"]
PROMISES = ["duplicates", "losses", "unlisted", "others"]


@dataclass
class Tally:
    """Counts of runs, faults and alerts, and the broken promises: for each, its kind and a line."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.counts.update(other.counts)
        self.broken += other.broken

    def __str__(self) -> str:
        numbers = self.counts + Counter(promise for promise, _ in self.broken)
        head = ", ".join(f"{numbers[name]} {name}" for name in (*COUNTED, *PROMISES))
        return "\n".join([head, *(line for _, line in self.broken)])
