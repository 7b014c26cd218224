"""Measure the cost of durable delivery: our `send`, its replay, and a bare httpx loop that records nothing.

    python -m bench.delivery [--alerts 5000] [--rounds 3]

Alerts go to three channels, without pacing, to a Slack that answers after 50 ms. Each round measures all
programs, in rotating order, so that other load on the machine affects all of them:

- `delivery`: begin, plan, each claim and answer committed (`synchronous=FULL`), close; without Prefect;
- `replay`: the same alerts again on the same ledger;
- `bare`: one httpx client with the same options and lanes, messages built before; nothing is recorded;
- `bare, keep-alive`: the same with connections kept, which delivery does not do on purpose.

The ledger is in `bench/results/`, on the disk of the checkout. A slow result is no failure. The table also
shows the load of the machine.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from core.alerts import ALERTS, Assessment
from core.domain import DEFAULT_ALERT_TYPE, Alert, RunRequest, count_found
from core.ledger import Ledger, open_ledger
from core.run import RunContext, open_run, utc_now
from core.runtime import Settings
from core.slack import build_message
from tasks.send import send

CHANNELS = ("amer-risk-alerts", "emea-risk-alerts", "apac-risk-alerts")
MONTH = date(2026, 1, 1)
PAUSE_SECONDS = 0.05
RESULTS = Path(__file__).parent / "results"
DELIVERY, REPLAY, BARE, KEPT = "delivery", "replay", "bare", "bare, keep-alive"


@dataclass(frozen=True)
class Target:
    """A ratio and its upper limit."""

    measured: str
    against: str
    at_most: float | None


TARGETS = (Target(DELIVERY, BARE, 1.25), Target(DELIVERY, KEPT, None), Target(REPLAY, DELIVERY, 0.1))


def main() -> None:
    """Measure, print the table, and store the numbers in `bench/results/delivery.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=__doc__.splitlines()[0])
    parser.add_argument("--alerts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    console = Console(emoji=False)
    load = [os.getloadavg()[0]]
    with _slow_slack() as slack:
        seconds = measure(slack, options.alerts, options.rounds, console)
    load.append(os.getloadavg()[0])
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "alerts": options.alerts,
        "channels": len(CHANNELS),
        "pause_seconds": PAUSE_SECONDS,
        "seconds": seconds,
        "ratios": {f"{item.measured} / {item.against}": ratios(seconds, item) for item in TARGETS},
        "durable_commit_ms": round(commit_seconds() * 1000, 3),
        "cpus": os.cpu_count(),
        "load_before_and_after": load,
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in ("httpx", "sqlalchemy", "sqlmodel")},
        },
    }
    (RESULTS / "delivery.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(console, result)


def measure(slack: str, alerts: int, rounds: int, console: Console) -> dict[str, list[float]]:
    """Run every program once a round; return the seconds of each by name."""
    routed = [_routed(number) for number in range(alerts)]
    programs: list[Callable[[], dict[str, float]]] = [
        lambda: deliver_and_replay(slack, routed),
        lambda: {BARE: bare(slack, routed, kept=0)},
        lambda: {KEPT: bare(slack, routed, kept=20)},
    ]
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        turn = number % len(programs)
        for program in programs[turn:] + programs[:turn]:
            for name, taken in program().items():
                seconds.setdefault(name, []).append(round(taken, 3))
                console.print(f"round {number + 1} of {rounds}: {name} {taken:.2f} s", style="dim")
    return seconds


def deliver_and_replay(slack: str, routed: Sequence[Alert]) -> dict[str, float]:
    """Send the alerts on a new ledger, then replay them; check that each was posted once."""
    with TemporaryDirectory(dir=RESULTS) as folder:
        settings = Settings(
            slack_webhook_base_url=slack,
            slack_channel_rate=0,
            max_alerts_per_run=0,
            database_url=f"sqlite:///{folder}/ledger.db",
        )
        ledger = open_ledger(settings.database_url)
        seconds = {}
        for name, sent in ((DELIVERY, len(routed)), (REPLAY, 0)):
            run_id = str(uuid4())
            started = time.perf_counter()
            asyncio.run(_run(settings, ledger, run_id, routed))
            seconds[name] = time.perf_counter() - started
            _expect(ledger.history.run(run_id).counts.alerts_sent, sent)
            _expect(_posted(slack), sent)
        ledger.close()
    return seconds


async def _run(settings: Settings, ledger: Ledger, run_id: str, routed: Sequence[Alert]) -> None:
    request = RunRequest("file:///bench.parquet", MONTH)
    counts = count_found(len(routed), 0, {DEFAULT_ALERT_TYPE: (len(routed), 0)})
    assessment = Assessment("bench", counts, (), ALERTS.empty_table())
    with open_run(RunContext(run_id, request, settings, ledger)) as run:
        await send.fn(run, ledger.plan(run_id, assessment, routed, 0, utc_now()))


def bare(slack: str, routed: Sequence[Alert], *, kept: int) -> float:
    """Post the alerts and check only the status; keep at most `kept` connections."""
    bodies: dict[str, list[bytes]] = {channel: [] for channel in CHANNELS}
    plain = Settings()
    for item in routed:
        channel = item.channel or ""
        message = build_message(item, plain)
        bodies[channel].append(json.dumps(message, ensure_ascii=False).encode())
    started = time.perf_counter()
    asyncio.run(_post_all(slack, bodies, kept))
    taken = time.perf_counter() - started
    _expect(_posted(slack), len(routed))
    return taken


async def _post_all(slack: str, bodies: dict[str, list[bytes]], kept: int) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept-Encoding": "identity"}
    limits = httpx.Limits(max_keepalive_connections=kept)
    async with httpx.AsyncClient(limits=limits, follow_redirects=False, timeout=10) as client:

        async def lane(channel: str) -> None:
            for body in bodies[channel]:
                answer = await client.post(f"{slack}/{channel}", content=body, headers=headers)
                answer.raise_for_status()

        await asyncio.gather(*(lane(channel) for channel in bodies))


def commit_seconds(times: int = 200) -> float:
    """Return the seconds of one durable SQLite commit on this disk: the least that a ledger costs."""
    with TemporaryDirectory(dir=RESULTS) as folder:
        connection = sqlite3.connect(f"{folder}/commits.db", isolation_level=None)
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n)")
        started = time.perf_counter()
        for number in range(times):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        taken = time.perf_counter() - started
        connection.close()
    return taken / times


def ratios(seconds: dict[str, list[float]], target: Target) -> dict[str, float | None]:
    """Return each ratio with its target: median, lowest and highest of the rounds."""
    pairs = zip(seconds[target.measured], seconds[target.against], strict=True)
    found = [measured / against for measured, against in pairs]
    return {
        "median": round(statistics.median(found), 4),
        "lowest": round(min(found), 4),
        "highest": round(max(found), 4),
        "target": target.at_most,
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """Print the results."""
    alerts, rounds = result["alerts"], len(result["seconds"][BARE])
    table = Table(title=f"{alerts:,} alerts, {len(CHANNELS)} channels, 50 ms an answer, {rounds} rounds")
    for heading in ("", "median", "lowest", "highest", "an alert"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, found in result["seconds"].items():
        median = statistics.median(found)
        each = f"{median / alerts * 1000:.2f} ms"
        table.add_row(name, f"{median:.2f} s", f"{min(found):.2f} s", f"{max(found):.2f} s", each)
    console.print(table)
    table = Table()
    for heading in ("ratio", "median", "lowest", "highest", "target"):
        table.add_column(heading, justify="left" if heading == "ratio" else "right")
    for name, ratio in result["ratios"].items():
        wanted = "" if ratio["target"] is None else f"≤ {ratio['target']}"
        table.add_row(name, *(f"{ratio[key]:.3f}" for key in ("median", "lowest", "highest")), wanted)
    console.print(table)
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    before, after = result["load_before_and_after"]
    console.print(
        f"{versions}; {result['cpus']} CPUs, load {before:.1f} before and {after:.1f} after;"
        f" a durable commit takes {result['durable_commit_ms']} ms",
        style="dim",
        soft_wrap=True,
    )


@contextmanager
def _slow_slack() -> Iterator[str]:
    program = Path(__file__).parent / "support" / "slow_slack.py"
    process = subprocess.Popen(  # noqa: S603  # our own interpreter on our own file
        [sys.executable, str(program), "--pause", str(PAUSE_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the mock has no pipes")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def _posted(slack: str) -> int:
    return int(httpx.get(slack, trust_env=False).text)


def _expect(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} alerts were posted, not {expected}: this measured something else")


def _routed(number: int) -> Alert:
    channel = CHANNELS[number % len(CHANNELS)]
    region = channel.split("-")[0].upper()
    return Alert(
        account_id=f"ACC-{number:05}",
        account_name=f"Account {number} Ltd.",
        account_region=region,
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
