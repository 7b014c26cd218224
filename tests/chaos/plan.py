"""The plan of each round, which depends only on the seed."""

import random
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """The kind of a fault, by what it does to a process or disk."""

    NONE = "unharmed"
    KILL = "killed"
    STOP = "stopped"
    FREEZE = "frozen"
    FILL = "disks filled"


class Clock(StrEnum):
    """The unit of the time of a fault, from the start of the round."""

    SECONDS = "seconds"
    MESSAGES = "messages that Slack saw"
    MAILS = "mails that were offered"


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of a process, and its time."""

    kind: FaultKind = FaultKind.NONE
    clock: Clock = Clock.SECONDS
    amount: float = 0


@dataclass(frozen=True, slots=True)
class Round:
    """Concurrent batch jobs and API requests for one month, and their faults."""

    jobs: tuple[Fault, ...]
    posts: int
    api: Fault
    prefect: Fault
    disk: Fault
    hangs_up: bool
    """Whether the first client of the API disconnects before its answer."""


OUTAGES = (FaultKind.KILL, FaultKind.KILL, FaultKind.FREEZE)
"""The faults of Prefect's server."""


def plan(seed: int, number: int) -> Round:
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  # repeatable by seed, not a secret
    jobs, posts = chance.choice(((1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (1, 1), (2, 1)))
    return Round(
        jobs=tuple(_fault(chance) for _ in range(jobs)),
        posts=posts,
        api=_fault(chance) if posts else Fault(),
        prefect=_outage(chance, OUTAGES) if chance.random() < 0.15 else Fault(),
        hangs_up=bool(posts) and chance.random() < 0.25,
        # Last, so that a seed repeats the other faults on a machine whose disk cannot be filled.
        disk=_outage(chance, (FaultKind.FILL,)) if chance.random() < 0.15 else Fault(),
    )


def _fault(chance: random.Random) -> Fault:
    kind = chance.choice(
        (FaultKind.KILL, FaultKind.KILL, FaultKind.KILL, FaultKind.STOP, FaultKind.FREEZE, FaultKind.NONE)
    )
    clock = chance.choice((Clock.SECONDS, Clock.MESSAGES, Clock.MESSAGES, Clock.MESSAGES, Clock.MAILS))
    amount = {
        Clock.SECONDS: chance.uniform(0.2, 9),
        # Mostly few messages, so that some remain for the next round. The fraction is in tenths of a second
        # after the message, when it is in flight, answered or recorded.
        Clock.MESSAGES: chance.uniform(1, chance.choice((6, 20, 40))),
        Clock.MAILS: chance.uniform(1, 2),
    }[clock]
    return Fault(kind, clock, amount)


def _outage(chance: random.Random, kinds: tuple[FaultKind, ...]) -> Fault:
    clock = chance.choice((Clock.SECONDS, Clock.MESSAGES))
    return Fault(chance.choice(kinds), clock, chance.uniform(1, 12))
