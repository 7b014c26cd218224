"""The plan of each round, which depends only on the seed."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Harm(StrEnum):
    """How a process is broken."""

    LET = "let"
    KILL = "kill"
    STOP = "stop"
    FREEZE = "freeze"


class Clock(StrEnum):
    """What the time of a fault is counted in, from the start of the round."""

    SECONDS = "seconds"
    MESSAGES = "messages that Slack saw"
    MAILS = "mails that were offered"


@dataclass(frozen=True, slots=True)
class Fate:
    """The fault of a process, and its time."""

    harm: Harm = Harm.LET
    clock: Clock = Clock.SECONDS
    amount: float = 0


@dataclass(frozen=True, slots=True)
class Round:
    """Concurrent batch jobs and API requests for one month, and their faults."""

    jobs: tuple[Fate, ...]
    posts: int
    api: Fate
    prefect: Fate
    hangs_up: bool
    """Whether the first client of the API disconnects before its answer."""


def plan(seed: int, number: int) -> Round:
    """Return the round with that number."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  # repeatable by seed, not a secret
    jobs, posts = chance.choice(((1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (1, 1), (2, 1)))
    return Round(
        jobs=tuple(_fate(chance) for _ in range(jobs)),
        posts=posts,
        api=_fate(chance) if posts else Fate(),
        prefect=_outage(chance) if chance.random() < 0.15 else Fate(),
        hangs_up=bool(posts) and chance.random() < 0.25,
    )


def _fate(chance: random.Random) -> Fate:
    harm = chance.choice((Harm.KILL, Harm.KILL, Harm.KILL, Harm.STOP, Harm.FREEZE, Harm.LET))
    clock = chance.choice((Clock.SECONDS, Clock.MESSAGES, Clock.MESSAGES, Clock.MESSAGES, Clock.MAILS))
    amount = {
        Clock.SECONDS: chance.uniform(0.2, 9),
        # Mostly few messages, so that some remain for the next round. The fraction is in tenths of a second
        # after the message, when it is in flight, answered or recorded.
        Clock.MESSAGES: chance.uniform(1, chance.choice((6, 20, 40))),
        Clock.MAILS: chance.uniform(1, 2),
    }[clock]
    return Fate(harm, clock, amount)


def _outage(chance: random.Random) -> Fate:
    clock = chance.choice((Clock.SECONDS, Clock.MESSAGES))
    return Fate(chance.choice((Harm.KILL, Harm.KILL, Harm.FREEZE)), clock, chance.uniform(1, 12))
