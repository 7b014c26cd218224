"""Measure the cost of durable delivery: our `send`, its replay, and a bare httpx loop that records nothing.

    python -m bench.delivery [--alerts 5000] [--rounds 3]

Alerts go to three channels, without pacing, to a mock Slack that answers after 50 ms. Each round measures all
programs, every second one in another order, so that other load on the machine affects all of them:

- `delivery`: begin, plan, each claim and answer committed (`synchronous=FULL`), close; without Prefect;
- `replay`: the same alerts again on the same ledger;
- `bare`: one httpx client with the same options and lanes, messages built before; nothing is recorded.

The ledger is in `bench/results/`, on the disk of the checkout. A slow result is no failure.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from bench.support.report import spread
from core.alerts import ALERTS, Assessment
from core.domain import DEFAULT_ALERT_TYPE, Alert, RunRequest, count_found
from core.ledger import Ledger, open_ledger
from core.run import RunContext, open_run, utc_now
from core.runtime import Settings
from core.slack import build_message
from examples.demo import environment_without_settings
from tasks.send import send

CHANNELS = ("amer-risk-alerts", "emea-risk-alerts", "apac-risk-alerts")
MONTH = date(2026, 1, 1)
ROOT = Path(__file__).parents[1]
DELIVERY, REPLAY, BARE = "delivery", "replay", "bare"
TARGETS = ((DELIVERY, BARE, 1.25), (REPLAY, DELIVERY, 0.1))
"""The most that the first may take of the second."""


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=__doc__.splitlines()[0])
    parser.add_argument("--alerts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in os.environ.keys() - environment_without_settings().keys():
        del os.environ[name]
    console = Console(emoji=False)
    load = os.getloadavg()[0]
    with slow_slack() as slack:
        seconds = measure(slack, options.alerts, options.rounds)
    table = Table("", "seconds", "ms per alert", title=f"{options.alerts:,} alerts, {options.rounds} rounds")
    for name, found in seconds.items():
        table.add_row(name, spread(found), f"{statistics.median(found) / options.alerts * 1000:.2f}")
    console.print(table)
    for name, peer, most in TARGETS:
        ratios = [ours / theirs for ours, theirs in zip(seconds[name], seconds[peer], strict=True)]
        console.print(f"{name} ÷ {peer}: {spread(ratios, 3)}, at most {most}")
    console.print(f"Load of the machine: {load:.1f} before, {os.getloadavg()[0]:.1f} after", style="dim")


def measure(slack: str, alerts: int, rounds: int) -> dict[str, list[float]]:
    """Run every program once a round; return the seconds of each by name."""
    routed = [_routed(number) for number in range(alerts)]
    programs: list[Callable[[str, Sequence[Alert]], dict[str, float]]] = [deliver_and_replay, bare]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for program in programs:
            for name, taken in program(slack, routed).items():
                seconds.setdefault(name, []).append(taken)
        programs.reverse()
    return seconds


def deliver_and_replay(slack: str, routed: Sequence[Alert]) -> dict[str, float]:
    """Send the alerts on a new ledger, then replay them; check that each was posted once."""
    with TemporaryDirectory(dir=ROOT / "bench" / "results") as folder:
        settings = Settings(
            slack_webhook_base_url=slack,
            slack_channel_rate=0,
            max_alerts_per_run=0,
            database_url=f"sqlite:///{folder}/ledger.db",
        )
        ledger = open_ledger(settings.database_url)
        seconds = {}
        for name, posted in ((DELIVERY, len(routed)), (REPLAY, 0)):
            started = time.perf_counter()
            asyncio.run(_run(settings, ledger, routed))
            seconds[name] = time.perf_counter() - started
            _expect(slack, posted)
        ledger.close()
    return seconds


async def _run(settings: Settings, ledger: Ledger, routed: Sequence[Alert]) -> None:
    run_id = str(uuid4())
    request = RunRequest("file:///bench.parquet", MONTH)
    counts = count_found(len(routed), 0, {DEFAULT_ALERT_TYPE: (len(routed), 0)})
    assessment = Assessment("bench", counts, (), ALERTS.empty_table())
    with open_run(RunContext(run_id, request, settings, ledger)) as run:
        await send.fn(run, ledger.plan(run_id, assessment, routed, 0, utc_now()))


def bare(slack: str, routed: Sequence[Alert]) -> dict[str, float]:
    """Post the alerts and check only the status, with a connection for each, as our client has."""
    bodies: dict[str, list[bytes]] = {channel: [] for channel in CHANNELS}
    plain = Settings()
    for item in routed:
        message = json.dumps(build_message(item, MONTH, plain), ensure_ascii=False)
        bodies[item.channel or ""].append(message.encode())
    started = time.perf_counter()
    asyncio.run(_post_all(slack, bodies))
    seconds = time.perf_counter() - started
    _expect(slack, len(routed))
    return {BARE: seconds}


async def _post_all(slack: str, bodies: dict[str, list[bytes]]) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept-Encoding": "identity"}
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, follow_redirects=False, timeout=10) as client:

        async def lane(channel: str) -> None:
            for body in bodies[channel]:
                answer = await client.post(f"{slack}/{channel}", content=body, headers=headers)
                answer.raise_for_status()

        await asyncio.gather(*(lane(channel) for channel in bodies))


@contextmanager
def slow_slack() -> Iterator[str]:
    """Run the mock Slack as a process, with its own GIL; yield its URL."""
    command = [sys.executable, "examples/mock_slack.py", "--port", "0", "--quiet", "--pause", "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (process.stdout.readline() if process.stdout else "").split()[-1]
        finally:
            process.terminate()


def _expect(slack: str, expected: int) -> None:
    """Check the number of messages that were posted since the last check."""
    posted = len(httpx.get(f"{slack}/messages").json())
    httpx.delete(f"{slack}/messages")
    if posted != expected:
        raise RuntimeError(f"{posted} alerts were posted, not {expected}: this measured something else")


def _routed(number: int) -> Alert:
    channel = CHANNELS[number % len(CHANNELS)]
    return Alert(
        account_id=f"ACC-{number:05}",
        account_name=f"Account {number} Ltd.",
        account_region=channel[:4].upper(),
        arr=50_000 + number,
        renewal_date=date(2026, 10, 28),
        account_owner="Priya Raman",
        duration_months=1 + number % 12,
        risk_start_month=date(2025, 1, 1),
        alert_type=DEFAULT_ALERT_TYPE,
        channel=channel,
    )


if __name__ == "__main__":
    main()
