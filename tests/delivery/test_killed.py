"""After kill -9 at any time, no alert is sent twice or lost, and no run stays running."""

import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.driver import work
from tests.delivery.world import MONTH, Delivered, accounts, deliver, look, routed, settings
from tests.postgresql import Server
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.waiting import until
from tests.warm import Forked

KILLS = 2
CHANNELS = ("amer", "emea", "apac")
PLANNED = [(f"A-{number:02}", CHANNELS[number % 3]) for number in range(30)]
ALERTS = [routed(account, channel) for account, channel in PLANNED]


def run_ids(ledger: Ledger) -> set[str]:
    return {run.run_id for run in ledger.history.runs().runs}


def kill_in_the_middle(job: dict[str, object], ledger: Ledger, chance: random.Random) -> None:
    """Start a run and kill it: before it is recorded, in the middle, or after its end."""
    run = Forked(work, job)
    # Kill one in five without waiting, perhaps before anything was begun.
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, 0.1))
    else:
        until(lambda: job["run_id"] in run_ids(ledger))
        time.sleep(chance.uniform(0, 0.35))
    run.send_signal(signal.SIGKILL)
    # The run may have ended first.
    assert run.wait() in {-signal.SIGKILL, 0}


def assert_sent_once(slack: HostileSlack, replay: Delivered) -> set[str]:
    """Assert that each alert was sent once or is unconfirmed; return the unconfirmed ones."""
    seen = Counter(accounts(request.message["text"] for request in slack.requests))
    unconfirmed = {account for account, status in replay.statuses.items() if status == "unconfirmed"}
    assert max(seen.values()) == 1
    assert sorted({*seen, *unconfirmed}) == [account for account, _ in PLANNED]
    counts = replay.view.counts
    assert counts.alerts_sent + counts.skipped_replay + len(unconfirmed) == len(PLANNED)
    return unconfirmed


@pytest.mark.parametrize(
    ("backend", "seed"), [*(("sqlite", seed) for seed in range(4)), ("postgresql", 0), ("postgresql", 1)]
)
def test_killed_runs_send_nothing_twice(
    slack: HostileSlack, path: Path, backend: str, seed: int, request: pytest.FixtureRequest
) -> None:
    server: Server | None = request.getfixturevalue("postgresql") if backend == "postgresql" else None
    url = server.new_database() if server else f"sqlite:///{path}"
    chance = random.Random(seed)  # noqa: S311
    for channel in CHANNELS:
        slack.script(f"/{channel}", slowly(chance.uniform(0.005, 0.03), answer(200, "ok")))
    killed = [f"killed-{number}" for number in range(KILLS)]
    with closing(Ledger(Database(url))) as ledger:
        for run_id in killed:
            job = {"url": slack.url, "ledger": url, "alerts": PLANNED, "run_id": run_id}
            kill_in_the_middle(job, ledger, chance)

        unconfirmed = assert_sent_once(slack, deliver(ledger, ALERTS, settings(slack.url, url)))

        assert len(unconfirmed) <= len(CHANNELS) * KILLS
        record = {key.account_id: one.status for key, one in ledger.history.deliveries(MONTH).items()}
        expected = {account: "unconfirmed" if account in unconfirmed else "sent" for account, _ in PLANNED}
        assert record == expected
        for run_id in run_ids(ledger) & set(killed):
            # `look` checks that it is closed and adds up.
            run = look(ledger, run_id)
            assert run.error in {None, "interrupted"}
            assert run.view.counts.unconfirmed <= len(CHANNELS) * (1 + killed.index(run_id))
