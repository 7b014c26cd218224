"""Delivery with a ledger on PostgreSQL keeps the same promises."""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial

import pytest

from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.driver import work
from tests.delivery.test_killed import ALERTS, CHANNELS, PLANNED, assert_sent_once
from tests.delivery.world import accounts, at_once, deliver, routed, settings
from tests.postgresql import Server
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.waiting import until
from tests.warm import Forked

OK = answer(200, "ok")


@pytest.fixture
def database_url(postgresql: Server) -> str:
    """Return an empty database."""
    return postgresql.new_database()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger."""
    with closing(Ledger(Database(database_url))) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(2))
def test_killed_runs_send_nothing_twice_on_postgresql(
    slack: HostileSlack, database_url: str, ledger: Ledger, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    for channel in CHANNELS:
        slack.script(f"/{channel}", slowly(0.02, OK))
    runs = ["killed-0", "killed-1"]
    job = {"url": slack.url, "ledger": database_url, "alerts": PLANNED}
    killed = [Forked(work, {**job, "run_id": run_id}) for run_id in runs]
    until(lambda: slack.requests)
    time.sleep(chance.uniform(0, 0.2))
    for run in killed:
        run.send_signal(signal.SIGKILL)
    assert {run.wait() for run in killed} <= {-signal.SIGKILL, 0}
    unconfirmed = assert_sent_once(slack, deliver(ledger, ALERTS, settings(slack.url, database_url)))
    assert len(unconfirmed) <= len(CHANNELS) * len(runs)


@pytest.mark.parametrize("pgbouncer", [False, True], ids=["direct", "behind PgBouncer"])
def test_six_runs_send_each_alert_once(
    slack: HostileSlack, postgresql: Server, database_url: str, *, pgbouncer: bool
) -> None:
    """Each run has its own connections; PgBouncer assigns a server connection to each transaction."""
    with ExitStack() as stack:
        url = stack.enter_context(postgresql.pgbouncer())(database_url) if pgbouncer else database_url
        ledgers = [stack.enter_context(closing(Ledger(Database(url)))) for _ in range(6)]
        runs = at_once(*(partial(deliver, each, ALERTS, settings(slack.url, url)) for each in ledgers))
    seen = Counter(accounts(request.message["text"] for request in slack.requests))
    assert seen == Counter(account for account, _ in PLANNED)
    counts = [run.view.counts for run in runs]
    assert sum(found.alerts_sent for found in counts) == len(PLANNED)
    assert all(found.alerts_sent + found.skipped_replay == len(PLANNED) for found in counts)


def test_run_survives_a_restart_during_a_request(
    slack: HostileSlack, postgresql: Server, database_url: str, ledger: Ledger
) -> None:
    """Between two transactions, another connection can replace the lost one."""

    async def cut(writer: asyncio.StreamWriter) -> None:
        postgresql.end_connections(database_url)
        await OK(writer)

    async def restart(writer: asyncio.StreamWriter) -> None:
        postgresql.stop()
        threading.Timer(0.3, postgresql.start).start()
        await OK(writer)

    slack.script("/amer", OK, cut, OK, restart, OK)
    alerts = [routed(f"A-{number}") for number in range(6)]
    run = deliver(ledger, alerts, settings(slack.url, database_url))
    assert set(run.statuses.values()) == {"sent"}
    assert len(slack.requests) == len(alerts)
