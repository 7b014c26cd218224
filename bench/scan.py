"""Measure load, dedupe and streaks beside DuckDB's and Polars' best queries.

    python -m bench.scan [--rounds 5] [--only layouts,history,long,files,remote,limit]
                         [--large] [--make] [--page]

Makes its data once (about 3.5 GB; `--large` another 2.5 GB of 109 million rows) in SCAN_DATA or
`bench/results/data`. Each run is a process of its own with two threads, after the files were read into the
page cache. The readers take turns, and medians are printed. It fails when two readers give different answers,
not when one is slow. Only our reader counts `duplicates_found`.

Measured parts replace those in `bench/results/scan.json`, other parts stay. `--page` measures nothing: it
writes docs/performance.json, docs/performance.svg and the tables in docs/performance.md from that file.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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
from bench.support.accounts import World
from bench.support.wire import Wire, served

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("SCAN_DATA") or RESULTS / "data")
THREADS = 2
MANY, FEW = 10_000, 330_000
OURS, DUCKDB, POLARS = "ours", "DuckDB", "Polars"
READERS = (OURS, DUCKDB, POLARS)
PLAIN = World()
CHUNK = 1 << 24
RESULT = RESULTS / "scan.json"


@dataclass(frozen=True)
class DataSet:
    """A source, how it is made, and the thresholds that are measured on it."""

    name: str
    make: Callable[[Path], None]
    part: str
    thresholds: tuple[int, ...] = (MANY,)
    first_look: int = 3

    @property
    def path(self) -> Path:
        """Return the path of the source."""
        return DATA / self.name


def by_month(world: World) -> Callable[[Path], None]:
    """Write one file in month order."""
    return lambda path: accounts.write_by_month(world, path)


DATA_SETS = (
    DataSet("by-month.parquet", by_month(PLAIN), "layouts", (MANY, FEW)),
    DataSet("monthly-files", lambda path: accounts.write_monthly_files(PLAIN, path), "layouts", (MANY, FEW)),
    DataSet(
        "by-account.parquet",
        lambda path: accounts.write_by_account(PLAIN, path),
        "layouts",
        (MANY, FEW),
        first_look=36,
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
    DataSet("remote.parquet", by_month(World(accounts=60_000)), "remote"),
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
    """Make missing data, measure, store the numbers in `bench/results/scan.json`, and print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--large", action="store_true", help="also 109 million rows")
    parser.add_argument("--make", action="store_true", help="only make the data")
    parser.add_argument("--page", action="store_true", help="only write the page from what was measured")
    options = parser.parse_args()
    console = Console(emoji=False, width=150)
    if options.page:
        shutil.copy(RESULT, report.KEPT)
        report.write()
        return
    parts = [*options.only.split(","), *(["large"] if options.large else [])]
    if unknown := set(parts) - {*PARTS, "large"}:
        parser.error(f"no such parts: {', '.join(unknown)}")
    DATA.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    for data in DATA_SETS:
        if data.part in parts:
            make(data, console)
    if options.make:
        return
    result: dict[str, Any] = (
        json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"parts": {}}
    )
    result |= {
        "cpus": os.cpu_count(),
        "threads": THREADS,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "duckdb", "polars")},
        },
    }
    for part in parts:
        before = os.getloadavg()[0]
        measured = measure_part(part, options.rounds, console)
        result["parts"][part] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": options.rounds,
            "load_before_and_after": [round(before, 1), round(os.getloadavg()[0], 1)],
            "measured": measured,
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(Markdown(report.tables(result)))


def measure_part(part: str, rounds: int, console: Console) -> list[dict[str, Any]]:
    """Measure every data set of a part."""
    if part == "limit":
        return [limits(rounds)]
    found: list[dict[str, Any]] = []
    for data in DATA_SETS:
        if data.part != part:
            continue
        if part != "remote":
            found += [measure(data, threshold, rounds, console) for threshold in data.thresholds]
        if part == "history":
            found[-1]["wire_bytes"] = over_the_wire(data, 1, pauses=(0.0,), stores=("S3",))[0]["bytes"]
        if part in {"remote", "files"}:
            found += over_the_wire(data, rounds)
    return found


def make(data: DataSet, console: Console) -> None:
    """Make a data set unless it exists; it has another name until it is complete."""
    if data.path.exists():
        return
    console.print(f"making {data.path} ...", style="dim")
    unfinished = data.path.with_name(f"making-{os.getpid()}-{data.name}")
    data.make(unfinished)
    unfinished.rename(data.path)


def measure(data: DataSet, threshold: int, rounds: int, console: Console) -> dict[str, Any]:
    """Measure the readers in turn; raise an error when their answers differ."""
    runs: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for number in range(rounds):
        turn = number % len(READERS)
        for reader in READERS[turn:] + READERS[:turn]:
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
        "answer": runs[OURS][0]["answer"],
        "readers": {
            reader: {
                key: [run[key] for run in found] for key in ("seconds", "cpu_seconds", "added_mb", "idle_mb")
            }
            for reader, found in runs.items()
        },
    }


def one_run(
    reader: str, source: str, threshold: int, first_look: int, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run one reader in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_IO_THREADS"), str(THREADS))
    done = subprocess.run(  # noqa: S603  # our own interpreter on our own module
        [sys.executable, "-m", "bench.support.one_run", reader, source, str(threshold), str(first_look)],
        env=os.environ | threads | (environment or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return run


def warm(path: Path) -> None:
    """Read every byte, so that the page cache has it."""
    for file in _files(path):
        with file.open("rb", buffering=0) as opened:
            while opened.read(CHUNK):
                pass


def rows_in(path: Path) -> int:
    """Return the number of rows in the footers."""
    return sum(pq.read_metadata(file).num_rows for file in _files(path))


def limits(rounds: int) -> dict[str, Any]:
    """Measure the least work of any reader, on the file in month order."""
    data = DATA_SETS[0]
    make(data, Console())
    path = data.path
    warm(path)
    columns = ["account_id", "month", "status", "updated_at"]
    pa.set_cpu_count(THREADS)
    meta = pq.read_metadata(path)
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
        file = pq.ParquetFile(path)
        for group in range(meta.num_row_groups):
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
    needs, wire, threshold = needed.needed(data.path, MANY), Wire(), data.thresholds[0]
    found: dict[tuple[str, float], dict[str, Any]] = {}
    warm(data.path)
    with served(data.path, wire) as uris:
        for _ in range(rounds):
            local = one_run(OURS, str(data.path), threshold, data.first_look)
            for store, pause in itertools.product(stores, pauses):
                uri, environment = uris[store]
                wire.reset(pause)
                run = one_run(OURS, uri, threshold, data.first_look, environment)
                if run["answer"] != local["answer"]:
                    raise RuntimeError(f"{store}: another answer than the local one")
                item = found.setdefault(
                    (store, pause), {"data": data.name, "store": store, "pause_seconds": pause, "ratios": []}
                )
                item |= {
                    "requests": wire.requests,
                    "files": needs.files,
                    "row_groups": needs.row_groups,
                    "bytes": wire.body_bytes,
                    "needed_bytes": needs.bytes,
                    "footer_bytes": needs.footer_bytes,
                    "bytes_twice": wire.twice(),
                    "ratios": [*item["ratios"], round(run["seconds"] / local["seconds"], 3)],
                }
    return list(found.values())


def _compared(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "duplicates"}


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.parquet"))


if __name__ == "__main__":
    main()
