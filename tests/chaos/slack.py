"""A Slack that answers at random, and records its requests and answers."""

import random
import re
from collections import Counter
from dataclasses import dataclass

from core.domain import AlertKey
from tests.slack.hostile import HostileSlack, Received, Reply, answer, reset, slowly

DELIVERED, REFUSED, NO_ANSWER = "delivered", "refused", "no answer"
"""The fate of a request: posted; certainly not posted; unknown to the client."""

ACCOUNT = re.compile(r"/accounts/(\S+)\Z")
TYPES = {"🚩 At Risk": "at_risk", "✅ Recovered": "recovered"}
"""The alert type of a message by the beginning of its first line."""
REFUSALS = [
    (0.87, answer(500, "rollup_error")),
    (0.92, answer(429, "rate_limited", headers={"Retry-After": "1"})),
    (0.94, answer(400, "invalid_payload")),
]
"""The answer below each bound of the choice, from 0.8 on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One complete request."""

    month: str
    key: AlertKey
    fate: str


class ChaosSlack(HostileSlack):
    """The server; `reliable` makes it well-behaved."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self.reliable = False
        self.seen: list[Seen] = []

    def fates(self, month: str) -> dict[AlertKey, Counter[str]]:
        """Return the fates of each alert's requests in the world of a month."""
        found: dict[AlertKey, Counter[str]] = {}
        for item in list(self.seen):
            if item.month == month:
                found.setdefault(item.key, Counter())[item.fate] += 1
        return found

    def reply_to(self, request: Received) -> Reply:
        """Record the request, which is posted even if the client dies, and choose a reply."""
        text = request.message["text"]
        found = ACCOUNT.search(text)
        if found is None:
            raise ValueError(f"a message without its details link: {text}")
        account_id = found[1]
        key = AlertKey(account_id, TYPES[text.partition(":")[0]])
        # The choice depends on alert and attempt, because the order of requests is not repeatable.
        nth = sum(item.key == key for item in self.seen)
        chance = random.Random(f"{self._seed}/{account_id}/{nth}")  # noqa: S311
        choice, pause = (0.0, 0.0) if self.reliable else (chance.random(), chance.random() * 0.15)
        fate, reply = NO_ANSWER, reset
        if choice < 0.80:
            fate, reply = DELIVERED, answer(200, "ok")
        elif choice < 0.94:
            fate, reply = REFUSED, next(refusal for bound, refusal in REFUSALS if choice < bound)
        self.seen.append(Seen(account_id.rsplit("-", 1)[0], key, fate))
        return slowly(pause, reply)
