"""A source, a ledger, a Slack, and a Prefect behind a proxy; tests break each of them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.ledger import RunView, open_ledger
from examples.mock_slack import MockSlack
from tests.delivery.world import accounts
from tests.faults.proxy import Proxy
from tests.service import row, variables, write_source

ACCOUNTS = [f"A-{number}" for number in range(6)]


class Saboteur(MockSlack):
    """A mock Slack that calls `act` when it gets its second message."""

    def __init__(self) -> None:
        super().__init__()
        self.act: Callable[[], object] = lambda: None

    def take(self, channel: str, message: dict[str, Any]) -> int:
        status = super().take(channel, message)
        if len(self.messages) == 2:
            self.act()
        return status

    @property
    def accounts(self) -> list[str]:
        """Return the alerted accounts, sorted, each as often as it was posted."""
        return sorted(accounts(taken["message"]["text"] for taken in self.messages))


@dataclass
class World:
    folder: Path
    slack: Saboteur
    proxy: Proxy
    source: str = field(init=False)

    def __post_init__(self) -> None:
        self.source = write_source(self.folder / "x.parquet", [row(account) for account in ACCOUNTS])

    @property
    def environment(self) -> dict[str, str]:
        return variables(self.slack.url, self.folder, PREFECT_API_URL=self.proxy.url)

    @property
    def runs(self) -> list[RunView]:
        """Return every run of the ledger, newest first."""
        ledger = open_ledger(self.environment["DATABASE_URL"])
        return [ledger.history.run(run.run_id) for run in ledger.history.runs(limit=9).runs]


@contextlib.contextmanager
def new_world(folder: Path, prefect_api: str) -> Iterator[World]:
    with Saboteur() as slack, Proxy(prefect_api) as proxy:
        yield World(folder, slack, proxy)
