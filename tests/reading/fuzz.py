"""Damage small Parquet files at random and read them in another process, which must neither end nor hang.

    python -m tests.reading.fuzz --rounds 5000 --seed 1 [--keep FOLDER]

prints the number of each outcome, and keeps the input of each outcome that is not allowed. Seed and number
decide a round, so that each can be repeated (`--first`). Allowed outcomes are the answer of the undamaged
file, `SourceInvalid`, and, where no checksum covers the damaged bytes, another answer. Checksums cover
neither the footer nor the headers of pages, and some files are written without checksums.
"""

import argparse
import multiprocessing
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from core.domain import RiskAlertsError
from tests.reading.stages import assess
from tests.reading.worlds import MONTH, back, row, table

ALLOWED = ("same", "source_invalid", "another answer")
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


def read_files(asked: Connection) -> None:
    """Answer each path with the outcome and the peak memory of this process in bytes."""
    asked.send("ready")
    while True:
        path = asked.recv()
        try:
            found = assess(path, alert_types=["at_risk", "recovered"])
            outcome = repr((found.alerts.to_pylist(), found.warnings, found.counts_by_type))
        except RiskAlertsError as error:
            outcome = error.code
            if error.code == "source_invalid" and len(error.message) > 600:
                outcome = "message too long"
        except Exception as error:  # noqa: BLE001  # any other exception is a finding
            outcome = f"{type(error).__name__}: {error}"
        # `ru_maxrss` would include the memory of the parent.
        memory = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        asked.send((outcome, int(memory[1]) * 1024))


class Reader:
    """A process that reads files; it is started again after a file that ended it."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._asked, theirs = context.Pipe()
        self._process = context.Process(target=read_files, args=(theirs,), daemon=True)
        self._process.start()
        # Now the end of the process closes the pipe.
        theirs.close()
        # A busy machine needs long for the imports.
        assert self._asked.recv() == "ready"

    def close(self) -> None:
        self._process.kill()
        self._process.join()

    def read(self, path: Path) -> str:
        """Return the outcome: an answer, the code of an error, or how the process ended."""
        self._asked.send(path)
        found = f"no answer in {SECONDS} s"
        if self._asked.poll(SECONDS):
            try:
                outcome, memory = self._asked.recv()
            except (EOFError, ConnectionError):
                self._process.join()
                found = f"crash: {self._process.exitcode}"
            else:
                if memory <= BYTES:
                    return str(outcome)
                found = "too much memory"
        self.close()
        self._start()
        return found


def rounds(seed: int, numbers: range, keep: Path | None = None) -> Counter[str]:
    """Return the number of each outcome; allowed are `same`, `source_invalid` and `another answer`."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, closing(Reader()) as reader:
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
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
