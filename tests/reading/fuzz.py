"""Damage small Parquet files at random and read them in another process, which must neither end nor hang.

    python -m tests.reading.fuzz --rounds 5000 --seed 1 [--keep FOLDER]

prints the number of each outcome, and keeps the input of each outcome that is not allowed. Seed and number
decide a round, so that each can be repeated (`--first`). Allowed outcomes are the answer of the undamaged
file, `SourceInvalid`, and, where no checksum covers the damaged bytes, another answer. Checksums cover
neither the footer nor the headers of pages, and some files are written without checksums.
"""

import argparse
import json
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Self

import pyarrow.parquet as pq

SECONDS = 30
"""The longest time of a round, in seconds."""
BYTES = 1 << 30
"""The most memory that the process may hold, in bytes; the files have a few kilobytes."""
SEEDS: list[dict[str, Any]] = [
    {"compression": "none", "write_page_checksum": True},
    {"compression": "zstd", "write_page_checksum": True, "data_page_version": "2.0"},
    {"compression": "gzip", "write_page_checksum": True, "use_dictionary": False, "row_group_size": 40},
    {"compression": "snappy", "row_group_size": 40, "data_page_size": 64},
    {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
    {"compression": "lz4", "write_statistics": False, "use_deprecated_int96_timestamps": True},
    {"compression": "brotli", "version": "1.0", "row_group_size": 40, "write_page_index": True},
    {"compression": "zstd", "use_byte_stream_split": ["arr"], "use_dictionary": ["account_id"]},
    {
        "compression": "none",
        "use_dictionary": False,
        "column_encoding": {
            "account_id": "DELTA_BYTE_ARRAY",
            "status": "DELTA_LENGTH_BYTE_ARRAY",
            "month": "DELTA_BINARY_PACKED",
            "updated_at": "DELTA_BINARY_PACKED",
        },
    },
]
"""Options of the undamaged files."""


def undamaged(folder: Path) -> list[Path]:
    """Write one file per seed, alternately by account and by month."""
    from tests.reading.worlds import MONTH, back, row, table  # noqa: PLC0415  # only the parent needs hypothesis

    rows = [
        row(f"a{n}", back(MONTH, age), "At Risk" if (n + age) % 4 else "Healthy", arr=9_998 + n)
        for n in range(20)
        for age in (0, 1, 1, 2, 3)
    ]
    paths = []
    for number, writing in enumerate(SEEDS):
        path = folder / f"seed-{number}.parquet"
        ordered = sorted(rows, key=lambda one: one["month"]) if number % 2 else rows
        pq.write_table(table(ordered), path, **writing)
        paths.append(path)
    return paths


def damage(content: bytes, random: Random) -> tuple[bytes, set[int]]:
    """Damage one to four places, half of them in the footer; return the file and the changed positions."""
    damaged = bytearray(content)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        first, last = random.choice([(0, footer), (footer, len(content))])
        place = random.randrange(first, last)
        match random.randrange(6):
            case 0 | 1:
                damaged[place] ^= 1 << random.randrange(8)
            case 2:
                damaged[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
            case 3:
                some = damaged[place : place + random.randrange(1, 9)]
                damaged[place : place + len(some)] = random.choice([b"\xff", b"\0", b"\x80"]) * len(some)
            case 4:
                some = damaged[place : place + random.randrange(1, 40)]
                other = random.randrange(0, len(damaged) - len(some) + 1)
                damaged[other : other + len(some)] = some
            case _:
                # Change the last byte of a long varint, so that a length or a count becomes huge.
                damaged[place : place + 5] = b"\xff\xff\xff\xff\x0f"[: len(damaged) - place]
    changed = {index for index, (new, old) in enumerate(zip(damaged, content, strict=True)) if new != old}
    return bytes(damaged), changed


@dataclass(frozen=True)
class Damaged:
    """A damaged file, and whether checksums cover all changed bytes."""

    seed: int
    content: bytes
    is_covered: bool


def damaged(paths: list[Path], seed: int, number: int) -> Damaged:
    """Return the input of a round."""
    random = Random(f"{seed}/{number}")  # noqa: S311  # the same each time
    chosen = random.randrange(len(paths))
    content = paths[chosen].read_bytes()
    new, changed = damage(content, random)
    covered: set[int] = set()
    if SEEDS[chosen].get("write_page_checksum"):
        covered = set(_payloads(paths[chosen]))
    return Damaged(chosen, new, bool(changed) and changed <= covered)


def _payloads(path: Path) -> Iterator[int]:
    """Return ranges that are data of pages: the ends of column chunks, because headers are short."""
    metadata = pq.ParquetFile(path).metadata
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(metadata.num_columns)):
            start = chunk.data_page_offset
            if chunk.has_dictionary_page:
                start = min(start, chunk.dictionary_page_offset)
            # A chunk has one page, or a dictionary and one page, each after a header.
            end = start + chunk.total_compressed_size
            yield from range(end - (end - chunk.data_page_offset) // 8, end)


def serve() -> None:
    """Read the files that stdin names, and print the outcome of each."""
    from datetime import date  # noqa: PLC0415

    from core.domain import RiskAlertsError  # noqa: PLC0415
    from core.runtime import Settings  # noqa: PLC0415
    from tasks.compute_streaks import compute_streaks  # noqa: PLC0415
    from tasks.dedupe import dedupe  # noqa: PLC0415
    from tasks.load_window import load_window  # noqa: PLC0415

    settings = Settings(alert_types=["at_risk", "recovered"])

    for line in sys.stdin:
        source_uri = Path(line.strip()).as_uri()
        try:
            window = load_window.fn(source_uri, date(2026, 1, 1), settings)
            found = compute_streaks.fn(window, dedupe.fn(window.rows), settings)
            outcome = repr((found.alerts.to_pylist(), found.warnings, found.counts_by_type))
        except RiskAlertsError as error:
            outcome = error.code
            if error.code == "source_invalid" and len(error.message) > 600:
                outcome = "message too long"
        except Exception as error:  # noqa: BLE001  # any other exception is a finding
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps({"outcome": outcome, "memory": _most_memory()}), flush=True)  # noqa: T201


def _most_memory() -> int:
    """Return the peak memory of this process in bytes; `ru_maxrss` would include that of its parent."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024


class Reader:
    """A process that reads files; it is started again after a file that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def read(self, path: Path) -> str:
        """Return the outcome: an answer, the code of an error, or how the process ended."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.reading.fuzz", "--serve"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n".encode())
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            if not ready:
                self._process.kill()
            ended = self._process.wait()
            self._process = None
            return f"crash: {ended}" if ready else f"no answer in {SECONDS} s"
        answer = json.loads(line)
        if answer["memory"] > BYTES:
            self.__exit__()
            self._process = None
            return "too much memory"
        return str(answer["outcome"])


def rounds(seed: int, numbers: range, keep: Path | None = None) -> Counter[str]:
    """Return the number of each outcome; allowed are `same`, `source_invalid` and `another answer`."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Reader() as reader:
        paths = undamaged(Path(folder))
        right = [reader.read(path) for path in paths]
        assert len(set(right)) == 1, right
        assert right[0].startswith("([{"), right[0]
        input_file = Path(folder) / "damaged.parquet"
        for number in numbers:
            one = damaged(paths, seed, number)
            input_file.write_bytes(one.content)
            found = reader.read(input_file)
            if found == right[one.seed]:
                outcome = "same"
            elif not found.startswith("(["):
                outcome = found
            else:
                outcome = "wrong in spite of a checksum" if one.is_covered else "another answer"
            outcomes[outcome] += 1
            if keep and outcome not in ALLOWED:
                (keep / f"{seed}-{number}.parquet").write_bytes(one.content)
                print(f"{seed}-{number} (seed {one.seed}): {outcome[:300]}", flush=True)  # noqa: T201
    return outcomes


ALLOWED = ("same", "source_invalid", "another answer")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return
    begun = time.monotonic()
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    outcomes = rounds(chosen.seed, range(chosen.first, chosen.first + chosen.rounds), chosen.keep)
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome[:200]}")  # noqa: T201
    print(f"{time.monotonic() - begun:.0f} s")  # noqa: T201
    sys.exit(bool(set(outcomes) - set(ALLOWED)))


if __name__ == "__main__":
    main()
