"""Delivery with a ledger on PostgreSQL keeps the same promises."""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from core.domain import LedgerError
from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.driver import work
from tests.delivery.test_killed import ALERTS, CHANNELS, PLANNED
from tests.delivery.world import accounts, deliver, look, routed, send_in_a_run, settings
from tests.postgresql import Server
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.waiting import until
from tests.warm import Forked


@pytest.fixture
def database_url(postgresql: Server) -> str:
    """Return an empty database."""
    return postgresql.new_database()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger."""
    opened = Ledger(Database(database_url))
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(3))
def test_killed_runs_send_nothing_twice_on_postgresql(
    slack: HostileSlack, database_url: str, ledger: Ledger, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    for channel in CHANNELS:
        slack.script(f"/{channel}", slowly(0.02, answer(200, "ok")))
    runs = ["killed-0", "killed-1"]
    job = {"url": slack.url, "ledger": database_url, "alerts": PLANNED}
    killed = [Forked(work, {**job, "run_id": run_id}) for run_id in runs]
    until(lambda: slack.requests)
    time.sleep(chance.uniform(0, 0.2))
    for run in killed:
        run.send_signal(signal.SIGKILL)
    assert {run.wait() for run in killed} <= {-signal.SIGKILL, 0}

    replay = deliver(ledger, ALERTS, settings(slack.url, database_url))

    seen = Counter(accounts(request.message["text"] for request in slack.requests))
    unconfirmed = {account for account, status in replay.statuses.items() if status == "unconfirmed"}
    assert max(seen.values()) == 1
    assert sorted({*seen, *unconfirmed}) == [account for account, _ in PLANNED]
    assert len(unconfirmed) <= len(CHANNELS) * len(runs)
    assert replay.view.counts.alerts_sent + replay.view.counts.skipped_replay + len(unconfirmed) == len(
        PLANNED
    )


def test_six_runs_send_each_alert_once(slack: HostileSlack, database_url: str, ledger: Ledger) -> None:
    chosen = settings(slack.url, database_url)
    runs = [f"run-{number}" for number in range(6)]

    async def all_at_once() -> None:
        await asyncio.gather(*(send_in_a_run(ledger, ALERTS, chosen, run_id) for run_id in runs))

    asyncio.run(all_at_once())
    assert Counter(accounts(request.message["text"] for request in slack.requests)) == Counter(
        account for account, _ in PLANNED
    )
    counts = [look(ledger, run_id).view.counts for run_id in runs]
    assert sum(found.alerts_sent for found in counts) == len(PLANNED)
    assert all(found.alerts_sent + found.skipped_replay == len(PLANNED) for found in counts)


def test_six_runs_behind_pgbouncer_send_once(
    slack: HostileSlack, postgresql: Server, database_url: str
) -> None:
    """Each run has its own connections; PgBouncer assigns a server connection to each transaction."""
    with postgresql.pgbouncer() as through:
        url = through(database_url)
        ledgers = [Ledger(Database(url)) for _ in range(6)]

        async def all_at_once() -> None:
            chosen = settings(slack.url, url)
            await asyncio.gather(
                *(send_in_a_run(one, ALERTS, chosen, f"run-{n}") for n, one in enumerate(ledgers))
            )

        asyncio.run(all_at_once())
        seen = Counter(accounts(request.message["text"] for request in slack.requests))
        assert seen == Counter(account for account, _ in PLANNED)
        counts = [look(one, f"run-{n}").view.counts for n, one in enumerate(ledgers)]
        assert sum(found.alerts_sent for found in counts) == len(PLANNED)
        assert all(found.alerts_sent + found.skipped_replay == len(PLANNED) for found in counts)
        for one in ledgers:
            one.close()


def test_run_survives_a_restart_during_a_request(
    slack: HostileSlack, postgresql: Server, database_url: str, ledger: Ledger
) -> None:
    """Between two transactions, another connection can replace the lost one."""

    async def cut(writer: asyncio.StreamWriter) -> None:
        postgresql.end_connections(database_url)
        await answer(200, "ok")(writer)

    async def go(writer: asyncio.StreamWriter) -> None:
        postgresql.stop()
        threading.Timer(0.3, postgresql.start).start()
        await answer(200, "ok")(writer)

    slack.script("/amer", answer(200, "ok"), cut, answer(200, "ok"), go, answer(200, "ok"))
    alerts = [routed(f"A-{number}") for number in range(6)]
    over = deliver(ledger, alerts, settings(slack.url, database_url))
    assert set(over.statuses.values()) == {"sent"}
    assert len(slack.requests) == len(alerts)


def test_restart_at_any_moment_loses_nothing(
    slack: HostileSlack, postgresql: Server, database_url: str, ledger: Ledger
) -> None:
    chosen = settings(slack.url, database_url)
    for channel in CHANNELS:
        slack.script(f"/{channel}", slowly(0.01, answer(200, "ok")))

    def restart() -> None:
        until(lambda: len(slack.requests) >= len(CHANNELS))
        postgresql.stop()
        postgresql.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    with suppress(LedgerError):
        deliver(ledger, ALERTS, chosen, "restarted")
    restarting.join()
    replay = deliver(ledger, ALERTS, chosen)

    seen = Counter(accounts(request.message["text"] for request in slack.requests))
    unconfirmed = {account for account, status in replay.statuses.items() if status == "unconfirmed"}
    assert max(seen.values()) == 1
    assert sorted({*seen, *unconfirmed}) == [account for account, _ in PLANNED]
    assert look(ledger, "restarted").view.status != "running"
