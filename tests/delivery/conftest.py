"""The world of the delivery tests: a new ledger, and a Slack with scripted answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.domain import Alert
from core.ledger import Ledger
from core.run import RunContext
from core.runtime import Settings
from tests.delivery.world import REQUEST, Delivered, accounts, deliver, look, outcomes, settings
from tests.slack.hostile import HostileSlack


@pytest.fixture
def slack() -> Iterator[HostileSlack]:
    with HostileSlack() as server:
        yield server


@dataclass(frozen=True)
class World:
    slack: HostileSlack
    ledger: Ledger
    path: Path
    """The file of the ledger."""

    def settings(self, **values: Any) -> Settings:
        return settings(self.slack.url, self.path, **values)

    def run(self, **values: Any) -> RunContext:
        """Return `run-1`, which has not begun."""
        return RunContext("run-1", REQUEST, self.settings(**values), self.ledger)

    def deliver(self, alerts: Sequence[Alert], run_id: str = "", **values: Any) -> Delivered:
        return deliver(self.ledger, alerts, self.settings(**values), run_id)

    def look(self) -> Delivered:
        return look(self.ledger, "run-1")

    def outcomes(self) -> dict[str, tuple[str, str | None]]:
        return outcomes(self.path)

    def seen(self, path: str | None = None) -> list[str]:
        """Return the accounts of the requests that Slack got, oldest first."""
        requests = self.slack.requests if path is None else self.slack.received(path)
        return accounts(request.message["text"] for request in requests)


@pytest.fixture
def world(slack: HostileSlack, ledger: Ledger, path: Path) -> World:
    return World(slack, ledger, path)
