"""Counts of all worlds."""

from dataclasses import dataclass, field, fields

from tests.chaos.plan import FaultKind


@dataclass
class Tally:
    """Counts of runs, faults and alerts, and a line for each broken promise."""

    rounds: int = 0
    runs: int = 0
    kills: int = 0
    stops: int = 0
    freezes: int = 0
    outages: int = 0
    """Outages of Prefect's server."""
    full: int = 0
    """Full disks."""
    posted: int = 0
    unconfirmed: int = 0
    duplicates: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether a promise was broken."""
        return bool(self.duplicates or self.losses or self.unlisted or self.broken)

    def add(self, other: "Tally") -> None:
        """Add the counts of another tally."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def add_fault(self, kind: FaultKind) -> None:
        """Count a fault of a batch job, of the API or of the disk."""
        self.kills += kind is FaultKind.KILL
        self.stops += kind is FaultKind.STOP
        self.freezes += kind is FaultKind.FREEZE
        self.full += kind is FaultKind.FILL

    def __str__(self) -> str:
        head = (
            f"{self.rounds} rounds, {self.runs} runs, {self.kills} killed, {self.stops} stopped,"
            f" {self.freezes} frozen, {self.outages} outages of Prefect, {self.full} full disks:"
            f" {self.posted} alerts posted, {self.unconfirmed} unconfirmed,"
            f" {len(self.duplicates)} duplicates, {len(self.losses)} losses, {len(self.unlisted)} unlisted"
        )
        return "\n".join([head, *self.duplicates, *self.losses, *self.unlisted, *self.broken])
