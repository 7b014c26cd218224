"""Measure one answer in a process of its own, after the imports.

    python -m bench.support.one_run READER SOURCE THRESHOLD FIRST_LOOK

Prints a JSON object. Memory is the peak of the process (VmHWM, reset before the answer) above its idle
memory.
"""

import gc
import importlib
import json
import os
import re
import sys
import time
from pathlib import Path

from bench.support.answer import MONTH, Question

READERS = {
    "ours": "bench.peers.ours",
    "DuckDB": "bench.peers.duckdb_sql",
    "Polars": "bench.peers.polars_lazy",
}


def main() -> None:
    """Measure once."""
    name, source, threshold, first_look = sys.argv[1:]
    reader = importlib.import_module(READERS[name])
    if "://" in source:
        importlib.import_module("core.sources." + {"gs": "gcs", "s3": "s3"}[source.partition(":")[0]])
    question = Question(source, MONTH, int(threshold), int(first_look))
    gc.collect()
    gc.freeze()  # as a run does once its imports are done
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    idle = _kib("VmRSS")
    cpu, started = time.process_time(), time.perf_counter()
    answer = reader.answer(question)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seconds": round(seconds, 4),
                "cpu_seconds": round(time.process_time() - cpu, 4),
                "added_mb": round((_kib("VmHWM") - idle) / 1024, 1),
                "answer": answer.summary(),
            }
        )
    )
    sys.stdout.flush()
    os._exit(0)  # Work that a library does at exit is not measured.


def _kib(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if not found:
        raise RuntimeError(f"no {key} in /proc/self/status")
    return int(found[1])


if __name__ == "__main__":
    main()
