"""Measure the API under load: many callers, and many runs. The API is a process of its own.

    python -m bench.service [--part load] [--seconds 8] [--runs 300]

- `load`: previews and read calls from more and more clients at the same time, while a run sends. It measures
  calls per second, statuses, memory of the process, and the 99th percentile of `/health` as a ratio to the
  one without clients;
- `soak`: runs one after the other, each of another month, with two alert types. It measures memory, threads
  and open files, which must not grow.

A slow result is no failure; answers that are not 200 are counted.
"""

import argparse
import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.support import server
from examples.mock_slack import MockSlack

CLIENTS = (1, 4, 16, 64)
MONTH = date(2026, 1, 1)
ACCOUNTS, ALERTS = 50_000, 500
SOAK_ACCOUNTS, SOAK_ALERTS = 200, 20
PROBE_SECONDS = 0.05


class Served(NamedTuple):
    """The running API, and the folder of its ledger and log."""

    url: str
    pid: int
    folder: Path

    def megabytes(self) -> str:
        """Return the resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return str(int(status.partition("VmRSS:")[2].split()[0]) // 1024)

    def number_of(self, kind: str) -> str:
        """Return the number of threads (`task`) or of open files (`fd`) of the process."""
        return str(len([*Path(f"/proc/{self.pid}/{kind}").iterdir()]))


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.service", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["load", "soak"])
    parser.add_argument("--seconds", type=float, default=8, help="of each number of clients")
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    console = Console(emoji=False)
    if options.part != "soak":
        with served(SLACK_CHANNEL_RATE="2") as service:
            console.print(asyncio.run(load(service, options.seconds)))
    if options.part != "load":
        with served(SLACK_CHANNEL_RATE="0", ALERT_TYPES='["at_risk", "recovered"]') as service:
            console.print(soak(service, options.runs))


@contextmanager
def served(**settings: str) -> Iterator[Served]:
    """Serve the API with a new ledger and a mock Slack."""
    with TemporaryDirectory() as folder, MockSlack() as slack:
        environment = {
            "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
            "REGIONS": '{"AMER": "amer-risk-alerts"}',
            "SLACK_WEBHOOK_BASE_URL": slack.url,
            **settings,
        }
        with server.served(Path(folder) / "log", "api.app:app", **environment) as (url, pid):
            yield Served(url, pid, Path(folder))


def source(folder: Path, months: list[date], accounts: int, alerts: int) -> str:
    """Write a source with the numbers of accounts and of alerts in each month; each streak is one month."""
    path = folder / "status.parquet"
    with pq.ParquetWriter(path, _month(months[0], 1, 1, 0).schema) as writer:
        for number, month in enumerate(months):
            writer.write_table(_month(month, accounts, alerts, number % 2 * alerts))
    return path.as_uri()


def _month(month: date, accounts: int, alerts: int, first: int) -> pa.Table:
    ids = [f"ACC-{number:06d}" for number in range(accounts)]
    return pa.table(
        {
            "account_id": ids,
            "account_name": ids,
            "account_region": ["AMER"] * accounts,
            "month": pa.repeat(pa.scalar(month), accounts),
            "status": ["Healthy"] * first + ["At Risk"] * alerts + ["Healthy"] * (accounts - first - alerts),
            "renewal_date": pa.nulls(accounts, pa.date32()),
            "account_owner": pa.nulls(accounts, pa.string()),
            "arr": pa.repeat(pa.scalar(50_000), accounts),
            "updated_at": pa.repeat(pa.scalar(datetime(2026, 1, 20, tzinfo=UTC)), accounts),
        }
    )


async def load(service: Served, seconds: float) -> Table:
    """Call the API from more and more clients while a run sends."""
    uri = source(service.folder, [MONTH], ACCOUNTS, ALERTS)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
        asked = {"source_uri": uri, "month": str(MONTH)}
        started = await client.post("/runs", json=asked, headers={"Prefer": "respond-async"})
        run_id = started.json()["run_id"]
        callers = Callers(client, asked, run_id, seconds)
        await callers.first_alert()
        idle = await callers.health()
        title = f"Under load; /health with nothing but the run: {idle * 1000:.1f} ms"
        table = Table("clients", "calls/s", "statuses", "/health p99", "of idle", "MB", title=title)
        for clients in CLIENTS:
            statuses: Counter[int] = Counter()
            probing = asyncio.create_task(callers.health())
            await asyncio.gather(*(callers.call(statuses, first) for first in range(clients)))
            slow = await probing
            table.add_row(
                str(clients),
                f"{statuses.total() / seconds:.0f}",
                ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items())),
                f"{slow * 1000:.0f} ms",
                f"{slow / idle:.1f}",
                service.megabytes(),
            )
        if (await client.get(f"/runs/{run_id}")).json()["status"] != "running":
            table.caption = "The run ended before the measurement."
    return table


@dataclass(frozen=True)
class Callers:
    """The clients, which call for `seconds` while the run `run_id` sends."""

    client: httpx.AsyncClient
    asked: dict[str, str]
    run_id: str
    seconds: float

    async def first_alert(self) -> None:
        """Wait until the run has sent an alert."""
        sent: list[object] = []
        while not sent:
            await asyncio.sleep(PROBE_SECONDS)
            answer = await self.client.get(f"/runs/{self.run_id}/alerts", params={"status": "sent"})
            sent = answer.json()["alerts"]

    async def health(self) -> float:
        """Call `/health` repeatedly; return the 99th percentile in seconds."""
        url = str(self.client.base_url.join("/health"))
        with ProcessPoolExecutor(1) as pool:
            # In a process of its own: beside all the clients, the probe would measure them.
            return await asyncio.get_running_loop().run_in_executor(pool, probe, url, self.seconds)

    async def call(self, statuses: Counter[int], first: int) -> None:
        """Call the endpoints in turn, each client starting at another one, and count the answers."""
        run = f"/runs/{self.run_id}"
        paths = ["/runs", run, f"{run}/alerts", "/outcomes", "/metrics", None]
        end = time.monotonic() + self.seconds
        for number in count(first):
            if time.monotonic() > end:
                return
            path = paths[number % len(paths)]
            answer = await (self.client.get(path) if path else self.client.post("/preview", json=self.asked))
            statuses[answer.status_code] += 1


def probe(url: str, seconds: float) -> float:
    """Call `url` repeatedly; return the 99th percentile of the answer's time in seconds."""
    took: list[float] = []
    end = time.monotonic() + seconds
    with httpx.Client(timeout=120) as client:
        while time.monotonic() < end:
            began = time.monotonic()
            client.get(url).raise_for_status()
            took.append(time.monotonic() - began)
            time.sleep(PROBE_SECONDS)
    return statistics.quantiles(took, n=100)[98]


def soak(service: Served, runs: int) -> Table:
    """Run one month after the other, and sample the counts of the process."""
    # The alerts of the month before the first run recover in its month.
    months = [date(2000 + number // 12, number % 12 + 1, 1) for number in range(runs + 1)]
    uri = source(service.folder, months, SOAK_ACCOUNTS, SOAK_ALERTS)
    table = Table("runs", "MB", "threads", "files", title="One run after the other")
    with httpx.Client(base_url=service.url, timeout=120) as client:
        for number, month in enumerate(months[1:], 1):
            answer = client.post("/runs", json={"source_uri": uri, "month": str(month)})
            answer.raise_for_status()
            counts = client.get(f"/runs/{answer.json()['run_id']}").json()["counts"]
            if counts["alerts_sent"] != 2 * SOAK_ALERTS:
                raise SystemExit(f"{month}: {counts}")
            if number in {1, 10} or number % 50 == 0:
                table.add_row(
                    str(number), service.megabytes(), service.number_of("task"), service.number_of("fd")
                )
    return table


if __name__ == "__main__":
    main()
