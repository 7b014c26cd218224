"""Measure load, dedupe and streaks beside DuckDB's and Polars' best queries.

    python -m bench.scan [--rounds 5] [--only layouts,history,long,files,remote,limit,large] [--page]

Makes its data once (about 3.5 GB; the part `large`, which is measured only when asked for, another 2.5 GB of
109 million rows) in SCAN_DATA or `bench/results/data`. Each run is a process of its own with two threads,
after the files were read into the page cache. The readers take turns, and medians are printed. It fails when
two readers give different answers, not when one is slow. Only our reader counts `duplicates_found`.

Measured parts replace those in `bench/results/scan.json`, other parts stay. `--page` measures nothing: it
writes docs/performance.json, docs/performance.svg and the tables in docs/performance.md from that file.
"""

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.markdown import Markdown

from bench.support import accounts, needed, report
from bench.support.accounts import Keys, World
from bench.support.wire import Wire, served

RESULTS = Path(__file__).parent / "results"
RESULT = RESULTS / "scan.json"
DATA = Path(os.environ.get("SCAN_DATA") or RESULTS / "data")
THREADS = 2
MANY, FEW = 10_000, 330_000
OURS, DUCKDB, POLARS = READERS = tuple(report.COLORS)
PLAIN = World()
CONSOLE = Console(emoji=False, width=150)


@dataclass(frozen=True)
class DataSet:
    """A source, how it is made, and what is measured on it.

    `first_look`: the number of months in which the peers look for history at first. `files_a_month`: of a
    folder, which has the files of each month apart; 0: one file in the given order.
    """

    part: str
    name: str
    world: World = PLAIN
    thresholds: tuple[int, ...] = (MANY,)
    first_look: int = 3
    order: Callable[[World], Iterator[Keys]] = accounts.by_month
    files_a_month: int = 0

    @property
    def path(self) -> Path:
        """Return the path of the source."""
        return DATA / self.name

    @property
    def files(self) -> list[Path]:
        """Return the Parquet files in name order."""
        return sorted(self.path.iterdir()) if self.files_a_month else [self.path]


DATA_SETS = (
    DataSet("layouts", "by-month.parquet", thresholds=(MANY, FEW)),
    DataSet("layouts", "monthly-files", thresholds=(MANY, FEW), files_a_month=1),
    DataSet("layouts", "by-account.parquet", PLAIN, (MANY, FEW), 36, accounts.by_account),
    DataSet("layouts", "shuffled.parquet", PLAIN, (MANY, FEW), 36, accounts.shuffled),
    DataSet("history", "history-12.parquet", World(months=12, longest=11)),
    DataSet("history", "history-36.parquet", World(months=36, longest=11)),
    DataSet("history", "history-120.parquet", World(months=120, longest=11)),
    DataSet("remote", "remote.parquet", World(accounts=60_000)),
    DataSet("long", "long-streak.parquet", World(months=120, longest=120, long_streaks=10)),
    DataSet("files", "files-500", World(accounts=60_000, months=100), files_a_month=5),
    DataSet("large", "large", World(accounts=3_000_000), (MANY, FEW), files_a_month=1),
)
PARTS = ("layouts", "history", "long", "files", "remote", "limit", "large")


def main() -> None:
    """Make missing data, measure, store the numbers in `bench/results/scan.json`, and print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS[:-1]), help="parts, with commas between")
    parser.add_argument("--page", action="store_true", help="only write the page from what was measured")
    options = parser.parse_args()
    if options.page:
        shutil.copy(RESULT, report.KEPT)
        report.write()
        return
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such parts: {', '.join(unknown)}")
    DATA.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("pyarrow", "duckdb", "polars")}
    result: dict[str, Any] = (
        json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"parts": {}}
    )
    result |= {
        "cpus": os.cpu_count(),
        "processor": processor(),
        "threads": THREADS,
        "versions": {"python": platform.python_version(), **versions},
    }
    for part in parts:
        before = os.getloadavg()[0]
        measured = list(measure_part(part, options.rounds))
        result["parts"][part] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": options.rounds,
            "load_before_and_after": [round(before, 1), round(os.getloadavg()[0], 1)],
            "measured": measured,
        }
        RESULT.write_text(json.dumps(result) + "\n", encoding="utf-8")
    CONSOLE.print(Markdown(report.tables(result)))


def measure_part(part: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Make and measure every data set of a part."""
    if part == "limit":
        make(DATA_SETS[0])
        yield limits(DATA_SETS[0].path, rounds)
    for data in DATA_SETS:
        if data.part != part:
            continue
        make(data)
        if part != "remote":
            for threshold in data.thresholds:
                item = measure(data, threshold, rounds)
                if part == "history":
                    [wire] = over_the_wire(data, 1, pauses=(0.0,), stores=("S3",))
                    item["wire_bytes"] = wire["bytes"]
                yield item
        if part in {"remote", "files"}:
            yield from over_the_wire(data, rounds)


def make(data: DataSet) -> None:
    """Make a data set unless it exists; it has another name until it is complete."""
    if data.path.exists():
        return
    CONSOLE.print(f"making {data.path} ...", style="dim")
    unfinished = data.path.with_name(f"making-{os.getpid()}-{data.name}")
    if data.files_a_month:
        accounts.write_monthly_files(data.world, unfinished, data.files_a_month)
    else:
        accounts.write_file(data.world, data.order(data.world), unfinished)
    unfinished.rename(data.path)


def measure(data: DataSet, threshold: int, rounds: int) -> dict[str, Any]:
    """Measure the readers in turn; raise an error when their answers differ."""
    runs: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for number in range(rounds):
        turn = number % len(READERS)
        for reader in READERS[turn:] + READERS[:turn]:
            warm(data)
            run = one_run(reader, str(data.path), threshold, data.first_look)
            runs[reader].append(run)
            CONSOLE.print(
                f"{data.name} ≥ {threshold:,} {number + 1}/{rounds} {reader}: {run['seconds']:.2f} s"
                f" ({run['cpu_seconds']:.2f} s of CPU), {run['added_mb']:.0f} MB",
                style="dim",
            )
    # The peers do not count duplicates.
    answers = [run["answer"] | {"duplicates": None} for found in runs.values() for run in found]
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"{data.name}: the readers' answers differ: {answers}")
    return {
        "data": data.name,
        "threshold": threshold,
        "rows": sum(pq.read_metadata(file).num_rows for file in data.files),
        "answer": runs[OURS][0]["answer"],
        "readers": {
            reader: {key: [run[key] for run in found] for key in ("seconds", "cpu_seconds", "added_mb")}
            for reader, found in runs.items()
        },
    }


def processor() -> str:
    """Return the model of the processor; ratios depend on it."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    return found[1] if found else platform.machine()


def one_run(reader: str, source: str, threshold: int, first_look: int, **environment: str) -> dict[str, Any]:
    """Run one reader in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_IO_THREADS"), str(THREADS))
    done = subprocess.run(
        [sys.executable, "-m", "bench.support.one_run", reader, source, str(threshold), str(first_look)],
        env=os.environ | threads | environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return run


def warm(data: DataSet) -> None:
    """Read every byte, so that the page cache has it."""
    for file in data.files:
        with file.open("rb", buffering=0) as opened:
            while opened.read(1 << 24):
                pass


def limits(path: Path, rounds: int) -> dict[str, Any]:
    """Measure what it takes to read and to decode four columns of the file in month order, and no more."""
    columns = ["account_id", "month", "status", "updated_at"]
    pa.set_cpu_count(THREADS)
    meta = pq.read_metadata(path)
    groups = range(meta.num_row_groups)
    chunks = [meta.row_group(group).column(index) for group in groups for index in range(meta.num_columns)]
    wanted = [
        (chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size)
        for chunk in chunks
        if chunk.path_in_schema in columns
    ]
    reading, decoding = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        with path.open("rb", buffering=0) as opened:
            for offset, size in wanted:
                os.pread(opened.fileno(), size, offset)
        reading.append(round(time.perf_counter() - started, 4))
        started = time.perf_counter()
        file = pq.ParquetFile(path)
        for group in groups:
            file.read_row_group(group, columns=columns)
        decoding.append(round(time.perf_counter() - started, 4))
    return {"bytes": sum(size for _, size in wanted), "pread_seconds": reading, "decode_seconds": decoding}


def over_the_wire(
    data: DataSet,
    rounds: int,
    pauses: tuple[float, ...] = (0.0, 0.05),
    stores: tuple[str, ...] = ("GCS", "S3"),
) -> list[dict[str, Any]]:
    """Measure the bytes that our reader fetches, and the cost of a pause before each answer."""
    needs, wire = needed.needed(data.path, MANY), Wire(DATA, data.files)
    end = "/" if data.files_a_month else ""
    found: dict[tuple[str, float], dict[str, Any]] = {}
    warm(data)
    with served(wire) as buckets:
        for _ in range(rounds):
            local = one_run(OURS, str(data.path), MANY, data.first_look)
            for store, pause in itertools.product(stores, pauses):
                bucket, environment = buckets[store]
                wire.reset(pause)
                run = one_run(OURS, f"{bucket}/{data.name}{end}", MANY, data.first_look, **environment)
                if run["answer"] != local["answer"]:
                    raise RuntimeError(f"{store}: another answer than the local one")
                item = found.setdefault(
                    (store, pause), {"data": data.name, "store": store, "pause_seconds": pause, "ratios": []}
                )
                item["ratios"].append(round(run["seconds"] / local["seconds"], 3))
                item |= {
                    "requests": wire.requests,
                    "files": needs.files,
                    "row_groups": needs.row_groups,
                    "bytes": wire.sent_bytes,
                    "needed_bytes": needs.bytes,
                    "footer_bytes": needs.footer_bytes,
                    "bytes_twice": wire.twice(),
                }
    return list(found.values())


if __name__ == "__main__":
    main()
