"""The scan beside its peers: load, dedupe and streaks against DuckDB's and Polars' best queries.

    python -m bench.scan [--rounds 5] [--only layouts,history,long,files,remote,limit] [--large] [--make]

Makes its data once (about 1.5 GB; `--large` another 2.5 GB of 109 million rows) in SCAN_DATA or
`bench/results/data`.
Each run is a process of its own with two threads, the file read into the page cache before, readers taking
turns;
medians are printed. It fails when two readers give different answers. What is slow fails nothing: the
ratios stand
beside their targets, and the load of the machine beside them. `duplicates_found` is counted by ours alone.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.support import accounts
from bench.support.accounts import World

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("SCAN_DATA") or RESULTS / "data")
THREADS = 2
MANY, FEW = 10_000, 330_000
OURS, DUCKDB, POLARS = "ours", "DuckDB", "Polars"
READERS = (OURS, DUCKDB, POLARS)
TARGET = 0.8
PLAIN = World()
CHUNK = 1 << 24


@dataclass(frozen=True)
class DataSet:
    """A source, how it is made, and which readers answer from it."""

    name: str
    make: Callable[[Path], None]
    part: str
    thresholds: tuple[int, ...] = (MANY,)
    readers: tuple[str, ...] = READERS
    first_look: int = 3

    @property
    def path(self) -> Path:
        """Where it lies."""
        return DATA / self.name


def by_month(world: World) -> Callable[[Path], None]:
    """Make one file in month order."""
    return lambda path: accounts.write_by_month(world, path)


DATA_SETS = (
    DataSet("by-month.parquet", by_month(PLAIN), "layouts", (MANY, FEW)),
    DataSet("monthly-files", lambda path: accounts.write_monthly_files(PLAIN, path), "layouts", (MANY, FEW)),
    DataSet(
        "by-account.parquet", lambda path: accounts.write_by_account(PLAIN, path), "layouts", (MANY, FEW)
    ),
    DataSet(
        "shuffled.parquet",
        lambda path: accounts.write_shuffled(PLAIN, path),
        "layouts",
        (MANY, FEW),
        first_look=36,
    ),
    *(
        DataSet(f"history-{months}.parquet", by_month(World(months=months, longest=11)), "history")
        for months in (12, 36, 120)
    ),
    DataSet("long-streak.parquet", by_month(World(months=120, longest=120, long_streaks=10)), "long"),
    DataSet(
        "files-500",
        lambda path: accounts.write_monthly_files(World(accounts=60_000, months=100, longest=36), path, 500),
        "files",
    ),
    DataSet(
        "large",
        lambda path: accounts.write_monthly_files(World(accounts=3_000_000), path),
        "large",
        (MANY, FEW),
    ),
)
PARTS = ("layouts", "history", "long", "files", "remote", "limit")


def main() -> None:
    """Make what is missing, measure, print, and keep the numbers in `bench/results/scan.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--large", action="store_true", help="also 109 million rows")
    parser.add_argument("--make", action="store_true", help="only make the data")
    options = parser.parse_args()
    parts = [*options.only.split(","), *(["large"] if options.large else [])]
    console = Console(emoji=False, width=150)
    RESULTS.mkdir(exist_ok=True)
    chosen = [data for data in DATA_SETS if data.part in parts]
    for data in chosen:
        make(data, console)
    if options.make:
        return
    load = [os.getloadavg()[0]]
    measured = [
        measure(data, threshold, options.rounds, console) for data in chosen for threshold in data.thresholds
    ]
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": options.rounds,
        "measured": measured,
        "limit": limits(options.rounds) if "limit" in parts else None,
        "remote": remote(console) if "remote" in parts else None,
        "cpus": os.cpu_count(),
        "threads": THREADS,
        "load_before_and_after": [*load, os.getloadavg()[0]],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "duckdb", "polars")},
        },
    }
    (RESULTS / "scan.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(console, result)


def make(data: DataSet, console: Console) -> None:
    """Make a data set unless it is there, under another name until it is whole."""
    if data.path.exists():
        return
    console.print(f"making {data.path} ...", style="dim")
    unfinished = data.path.with_name(f"making-{os.getpid()}-{data.name}")
    data.make(unfinished)
    unfinished.rename(data.path)


def measure(data: DataSet, threshold: int, rounds: int, console: Console) -> dict[str, Any]:
    """Let the readers answer in turn; raises when their answers differ."""
    runs: dict[str, list[dict[str, Any]]] = {reader: [] for reader in data.readers}
    for number in range(rounds):
        turn = number % len(data.readers)
        for reader in data.readers[turn:] + data.readers[:turn]:
            warm(data.path)
            run = one_run(reader, str(data.path), threshold, data.first_look)
            runs[reader].append(run)
            console.print(
                f"{data.name} ≥ {threshold:,} {number + 1}/{rounds} {reader}: {run['seconds']:.2f} s"
                f" ({run['cpu_seconds']:.2f} s of CPU), {run['added_mb']:.0f} MB",
                style="dim",
            )
    answers = [run["answer"] for found in runs.values() for run in found]
    if any(_compared(answer) != _compared(answers[0]) for answer in answers):
        raise RuntimeError(f"{data.name}: the readers' answers differ: {answers}")
    return {
        "data": data.name,
        "threshold": threshold,
        "rows": rows_in(data.path),
        "answer": runs[data.readers[0]][0]["answer"],
        "readers": {
            reader: {
                key: [run[key] for run in found] for key in ("seconds", "cpu_seconds", "added_mb", "idle_mb")
            }
            for reader, found in runs.items()
        },
    }


def one_run(
    reader: str, source: str, threshold: int, first_look: int = 3, **environment: str
) -> dict[str, Any]:
    """Run one reader in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_IO_THREADS"), str(THREADS))
    done = subprocess.run(  # noqa: S603  # our own interpreter on our own module
        [sys.executable, "-m", "bench.support.one_run", reader, source, str(threshold), str(first_look)],
        env=os.environ | threads | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return run


def warm(path: Path) -> None:
    """Read every byte, so that it comes from the page cache afterwards."""
    for file in _files(path):
        with file.open("rb", buffering=0) as opened:
            while opened.read(CHUNK):
                pass


def rows_in(path: Path) -> int:
    """Count the rows by the footers."""
    return sum(accounts.pq.read_metadata(file).num_rows for file in _files(path))


def limits(rounds: int) -> dict[str, Any]:
    """Measure what no reader can do without, on the file in month order."""
    path = DATA_SETS[0].path
    make(DATA_SETS[0], Console())
    warm(path)
    columns = ["account_id", "month", "status", "updated_at"]
    accounts.pa.set_cpu_count(THREADS)
    meta = accounts.pq.read_metadata(path)
    wanted = [
        (chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size)
        for group in range(meta.num_row_groups)
        for index in range(meta.num_columns)
        if (chunk := meta.row_group(group).column(index)).path_in_schema in columns
    ]
    reading, decoding = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        with path.open("rb", buffering=0) as opened:
            for offset, size in wanted:
                os.pread(opened.fileno(), size, offset)
        reading.append(round(time.perf_counter() - started, 4))
        started = time.perf_counter()
        file = accounts.pq.ParquetFile(path)
        for group in range(meta.num_row_groups):
            file.read_row_group(group, columns=columns)
        decoding.append(round(time.perf_counter() - started, 4))
    return {"bytes": sum(size for _, size in wanted), "pread_seconds": reading, "decode_seconds": decoding}


def remote(console: Console) -> list[dict[str, Any]]:
    """Measure what ours moves over the wire, and what 50 ms a request cost it."""
    from bench.support import wire as wires  # noqa: PLC0415  # the emulators take seconds to import

    data = DataSet("remote.parquet", by_month(World(accounts=60_000)), "remote")
    make(data, console)
    needed, touched = needed_bytes(data.path)
    warm(data.path)
    local = one_run(OURS, str(data.path), MANY)
    found, wire = [], wires.Wire()
    for name, store in (("GCS", wires.gcs), ("S3", wires.s3)):
        with store(data.path, wire) as (uri, environment):
            for pause in (0.0, 0.05):
                wire.reset(pause)
                run = one_run(OURS, uri, MANY, **environment)
                if _compared(run["answer"]) != _compared(local["answer"]):
                    raise RuntimeError(f"{name}: another answer than the local one")
                found.append(
                    {
                        "store": name,
                        "pause_seconds": pause,
                        "requests": wire.requests,
                        "row_groups": touched,
                        "bytes": wire.body_bytes,
                        "needed_bytes": needed,
                        "bytes_ratio": round(wire.body_bytes / needed, 3),
                        "bytes_twice": wire.twice(),
                        "seconds": run["seconds"],
                        "local_seconds": local["seconds"],
                        "time_ratio": round(run["seconds"] / local["seconds"], 2),
                    }
                )
    return found


def needed_bytes(path: Path) -> tuple[int, int]:
    """Add up the column chunks that the answer needs and count the row groups."""
    meta, needed = accounts.pq.read_metadata(path), 0
    always = {"account_id", "month", "status", "updated_at"}
    for number in range(meta.num_row_groups):
        group = meta.row_group(number)
        chunks = [group.column(index) for index in range(meta.num_columns)]
        newest = next(chunk.statistics.max for chunk in chunks if chunk.path_in_schema == "month")
        needed += sum(
            chunk.total_compressed_size
            for chunk in chunks
            if chunk.path_in_schema in always or newest == accounts.MONTH
        )
    return needed, meta.num_row_groups


def ratio(measured: dict[str, Any], key: str, against: str) -> float | None:
    """Give the median of ours over the median of a peer's."""
    readers = measured["readers"]
    if against not in readers:
        return None
    return float(statistics.median(readers[OURS][key]) / statistics.median(readers[against][key]))


def show(console: Console, result: dict[str, Any]) -> None:
    """Print what was measured."""
    table = Table(title=f"load + dedupe + streaks, medians of {result['rounds']}, {THREADS} threads")
    for heading in (
        "source",
        "alerts",
        "reader",
        "time",
        "from - to",
        "CPU",
        "memory",
        "rows/s",
        "ours ÷ time",
        "÷ CPU",
        "÷ memory",
    ):
        table.add_column(heading, justify="left" if heading in {"source", "reader"} else "right")
    for item in result["measured"]:
        for reader, found in item["readers"].items():
            seconds = statistics.median(found["seconds"])
            shares = (
                ["", "", ""]
                if reader == OURS
                else [f"{ratio(item, key, reader):.2f}" for key in ("seconds", "cpu_seconds", "added_mb")]
            )
            table.add_row(
                item["data"] if reader == OURS else "",
                f"{item['answer']['alerts']:,}" if reader == OURS else "",
                reader,
                f"{seconds:.2f} s",
                f"{min(found['seconds']):.2f} - {max(found['seconds']):.2f}",
                f"{statistics.median(found['cpu_seconds']):.2f} s",
                f"{statistics.median(found['added_mb']):.0f} MB",
                f"{item['rows'] / seconds / 1e6:.1f} M",
                *shares,
            )
    console.print(table)
    if result["limit"]:
        limit = result["limit"]
        console.print(
            f"physical limit, by-month.parquet, four columns of all {limit['bytes'] / 1e6:.0f} MB: pread"
            f" {statistics.median(limit['pread_seconds']):.3f} s, decoding with pyarrow"
            f" {statistics.median(limit['decode_seconds']):.3f} s"
        )
    for item in result["remote"] or []:
        console.print(
            f"{item['store']} + {item['pause_seconds'] * 1000:.0f} ms: {item['requests']} requests for"
            f" {item['row_groups']} groups, {item['bytes'] / 1e6:.1f} MB, {item['bytes_ratio']:.2f} of the"
            f" needed, {item['bytes_twice'] / 1e6:.1f} MB anew; {item['seconds']:.2f} s, {item['time_ratio']}"
            " times the local",
            soft_wrap=True,
        )
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    before, after = result["load_before_and_after"]
    console.print(
        f"target: ≤ {TARGET} of each peer's time, ≤ {TARGET} of DuckDB's memory; {versions};"
        f" {result['cpus']} CPUs, load {before:.1f} before and {after:.1f} after",
        style="dim",
        soft_wrap=True,
    )


def _compared(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "duplicates"}


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.parquet"))


if __name__ == "__main__":
    main()
