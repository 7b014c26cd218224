"""Measure wall time, CPU and memory of a whole batch job, beside an interpreter that only imports.

    python -m bench.startup [--rounds 5] [--no-prefect]

Each measurement is a process with a home of its own. Each round measures all of them, every second one in
another order:

- `imports`: an interpreter that imports prefect, pyarrow, sqlmodel and httpx, and ends;
- `first run`: the batch job on the sample, with a new ledger and a mock Slack, without a Prefect API;
- `replay`: the same month again on that ledger;
- `imports and empty flow`: the imports and an async flow that does nothing, on a Prefect server;
- `run with Prefect`: the batch job with a new ledger on that server.

Memory is the highest sum over the process and all its children. A slow result is no failure. The table also
shows the load of the machine.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from examples.make_sample import write_sample
from examples.mock_slack import MockSlack

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
MONTH = "2026-01-01"
IMPORTS, FIRST, REPLAY = "imports", "first run", "replay"
EMPTY_FLOW, WITH_PREFECT = "imports and empty flow", "run with Prefect"
AT_MOST, MEGABYTES_AT_MOST = 1.6, 200

IMPORT = "import prefect, pyarrow, sqlmodel, httpx"
FLOW = f"""
{IMPORT}
import asyncio
@prefect.flow
async def empty(): pass
asyncio.run(empty())
"""


class Cost(NamedTuple):
    """The cost of one process and its children."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def main() -> None:
    """Measure, print the table, and store the numbers in `bench/results/startup.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-prefect", action="store_true", help="leave the Prefect server out")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        slack = stack.enter_context(MockSlack())
        api = None if options.no_prefect else stack.enter_context(prefect_server(folder))
        write_sample(folder / "status.parquet")
        costs = measure(folder, slack.url, api, options.rounds)
    show(costs, load, Console(emoji=False))
    RESULTS.mkdir(exist_ok=True)
    kept = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "costs": {name: [cost._asdict() for cost in each] for name, each in costs.items()},
    }
    (RESULTS / "startup.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, slack: str, api: str | None, rounds: int) -> dict[str, list[Cost]]:
    """Measure each process once a round."""
    job = ["-m", "flows.monthly_risk_alerts", "--month", MONTH, "--json"]
    job += ["--source-uri", (folder / "status.parquet").as_uri()]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    common = kept | {
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
        alone = common | {"HOME": str(home), "DATABASE_URL": f"sqlite:///{folder}/{number}.db"}
        work: list[tuple[str, list[str], Mapping[str, str]]] = [
            (IMPORTS, ["-c", IMPORT], alone),
            (FIRST, job, alone),
            (REPLAY, job, alone),
        ]
        if api:
            with_api = alone | {"PREFECT_API_URL": api}
            beside = with_api | {"DATABASE_URL": f"sqlite:///{folder}/{number}-prefect.db"}
            work += [(EMPTY_FLOW, ["-c", FLOW], with_api), (WITH_PREFECT, job, beside)]
        # By name, the replay still follows the first run.
        for name, command, environment in work if number % 2 == 0 else sorted(work, key=lambda w: w[0]):
            costs.setdefault(name, []).append(one_process(command, environment))
    return costs


def one_process(arguments: list[str], environment: Mapping[str, str]) -> Cost:
    """Run a Python process to its end; return its cost."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  # our own interpreter
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    highest = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            highest[0] = max(highest[0], sum(map(megabytes, family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    over.set()
    watcher.join()
    if status:
        raise SystemExit(said.decode())
    return Cost(seconds, usage.ru_utime + usage.ru_stime, max(highest[0], usage.ru_maxrss / 1024))


def family(pid: int) -> Iterator[int]:
    """Yield the process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in found:
            yield from family(int(child))


def megabytes(pid: int) -> float:
    """Return the resident memory of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """Run a Prefect server with a home of its own; yield the URL of its API."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    with (folder / "prefect.log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603  # our own interpreter
            [
                *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
                *("--port", port, "--log-level", "warning"),
            ],
            env={**os.environ, "PREFECT_HOME": str(folder / "prefect")},
            stdout=log,
            stderr=log,
        )
    try:
        while True:
            if server.poll() is not None:
                raise SystemExit((folder / "prefect.log").read_text(encoding="utf-8"))
            try:
                httpx.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def show(costs: Mapping[str, list[Cost]], load: float, console: Console) -> None:
    """Print the medians, and the ratio of each batch job to its peer, round by round."""
    rounds = len(costs[IMPORTS])
    table = Table(
        title=f"Medians of {rounds}; load of the machine {load:.1f}."
        f" Aims: at most {AT_MOST} times the wall time of its peer, {MEGABYTES_AT_MOST} MB"
    )
    for name in ("", "wall", "CPU", "memory", "peer", "wall ÷ peer", "CPU ÷ peer"):
        table.add_column(name, justify="left" if name in {"", "peer"} else "right")
    for name, each in costs.items():
        peer = {FIRST: IMPORTS, REPLAY: IMPORTS, WITH_PREFECT: EMPTY_FLOW}.get(name)
        ratios = ["", ""]
        if peer:
            pairs = list(zip(each, costs[peer], strict=True))
            walls = [ours.seconds / theirs.seconds for ours, theirs in pairs]
            cpus = [ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in pairs]
            ratios = [f"{statistics.median(found):.2f}" for found in (walls, cpus)]
        seconds, cpu, memory = (statistics.median(column) for column in zip(*each, strict=True))
        table.add_row(name, f"{seconds:.2f} s", f"{cpu:.2f} s", f"{memory:.0f} MB", peer, *ratios)
    console.print(table)


if __name__ == "__main__":
    main()
