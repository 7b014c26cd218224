"""Measure wall time, CPU and memory of a whole batch job, beside an interpreter that only imports.

    python -m bench.startup [--rounds 5]

Each measurement is a process with a home of its own. Each round measures all of them, every second one in
another order:

- `imports`: an interpreter that imports prefect, pyarrow, sqlmodel and httpx, and ends;
- `first run`: the batch job on the sample, with a new ledger and a mock Slack, without a Prefect API;
- `replay`: the same month again on that ledger;
- `imports and empty flow`: the imports and an async flow that does nothing, on a Prefect server;
- `run with Prefect`: the batch job with a new ledger on that server.

A slow result is no failure. The table also shows the load of the machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.support.server import served
from examples.demo import environment_without_settings
from examples.make_sample import write_sample
from examples.mock_slack import MockSlack

ROOT = Path(__file__).parents[1]
IMPORTS, FIRST, REPLAY = "imports", "first run", "replay"
EMPTY_FLOW, WITH_PREFECT = "imports and empty flow", "run with Prefect"
PEERS = {FIRST: IMPORTS, REPLAY: IMPORTS, WITH_PREFECT: EMPTY_FLOW}

IMPORT = "import prefect, pyarrow, sqlmodel, httpx"
FLOW = f"""
{IMPORT}
import asyncio
@prefect.flow
async def empty(): pass
asyncio.run(empty())
"""


class Cost(NamedTuple):
    """The cost of one process."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as name, MockSlack() as slack:
        folder = Path(name)
        write_sample(folder / "status.parquet")
        prefect = ("--factory", "prefect.server.api.server:create_app")
        home = {"PREFECT_HOME": f"{folder}/prefect", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        with served(folder / "prefect.log", *prefect, **home) as (server, _):
            costs = measure(folder, slack.url, f"{server}/api", options.rounds)
    show(costs, f"Medians of {options.rounds}; load of the machine {load:.1f}")


def measure(folder: Path, slack: str, api: str, rounds: int) -> dict[str, list[Cost]]:
    """Measure each process once a round."""
    job = ["-m", "flows.monthly_risk_alerts", "--month", "2026-01-01", "--json"]
    job += ["--source-uri", (folder / "status.parquet").as_uri()]
    common = environment_without_settings() | {
        "SLACK_WEBHOOK_BASE_URL": slack,
        "SLACK_CHANNEL_RATE": "0",
        "REGIONS": '{"AMER": "amer", "EMEA": "emea", "APAC": "apac"}',
    }
    # The first process is not counted: it compiles modules and fills the disk's cache.
    one_process(["-c", IMPORT], common)
    costs: dict[str, list[Cost]] = {}
    for number in range(rounds):
        home = folder / f"home-{number}"
        home.mkdir()
        alone = common | {"HOME": str(home), "DATABASE_URL": f"sqlite:///{home}/alone.db"}
        beside = alone | {"PREFECT_API_URL": api, "DATABASE_URL": f"sqlite:///{home}/prefect.db"}
        work = [
            (IMPORTS, ["-c", IMPORT], alone),
            (FIRST, job, alone),
            (REPLAY, job, alone),
            (EMPTY_FLOW, ["-c", FLOW], beside),
            (WITH_PREFECT, job, beside),
        ]
        # By name, the replay still follows the first run.
        for name, command, environment in work if number % 2 == 0 else sorted(work, key=lambda w: w[0]):
            costs.setdefault(name, []).append(one_process(command, environment))
    return costs


def one_process(arguments: list[str], environment: Mapping[str, str]) -> Cost:
    """Run a Python process to its end; return its cost."""
    started = time.perf_counter()
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            log.seek(0)
            raise SystemExit(log.read().decode())
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def show(costs: Mapping[str, list[Cost]], title: str) -> None:
    """Print the medians, and the ratio of each batch job to its peer, round by round."""
    table = Table("", "wall", "CPU", "memory", "peer", "wall ÷ peer", "CPU ÷ peer", title=title)
    for name, each in costs.items():
        peer = PEERS.get(name, "")
        pairs = list(zip(each, costs.get(peer, []), strict=False))
        walls = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        cpus = [ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in pairs]
        ratios = [f"{statistics.median(found):.2f}" for found in (walls, cpus) if found]
        seconds, cpu, memory = (statistics.median(column) for column in zip(*each, strict=True))
        table.add_row(name, f"{seconds:.2f} s", f"{cpu:.2f} s", f"{memory:.0f} MB", peer, *ratios)
    Console(emoji=False).print(table)


if __name__ == "__main__":
    main()
