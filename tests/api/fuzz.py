"""Send the real API valid and invalid requests made from its OpenAPI schema, with all checks of schemathesis.

    python -m tests.api.fuzz PROGRAM [--examples 300] [--seed 1]

PROGRAM is schemathesis, which has an environment of its own (`make fuzz`). The API is a process of its own,
with a source that it may read, a mock Slack, a ledger with a run in it and a local Prefect server. The exit
code is schemathesis' own: 1 when an answer is a 5xx, or breaks the schema or a rule of HTTP.

The check that the API accepts every request of the schema is left out: no schema can express that a month
begins on its first day, that a page returned a cursor, or which sources an operator allows.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.service import served
from tests.service import MONTH, write_source


def main() -> int:
    """Serve the API, run schemathesis against it, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.api.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="schemathesis")
    parser.add_argument("--examples", type=int, default=300, help="of each operation")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "status.parquet")
        settings = {
            "ALLOWED_SOURCES": json.dumps([Path(folder).as_uri()]),
            "SLACK_CHANNEL_RATE": "0",
            # uvicorn itself refuses an address of more than 64 KiB, without problem details.
            "UVICORN_H11_MAX_INCOMPLETE_EVENT_SIZE": "1000000",
        }
        with served(**settings) as service:
            asked = {"source_uri": source, "month": MONTH}
            httpx.post(f"{service.url}/runs", json=asked, timeout=60).raise_for_status()
            return subprocess.run(
                [
                    *(options.program.absolute(), "run", f"{service.url}/openapi.json", "--checks", "all"),
                    *("--exclude-checks", "positive_data_acceptance"),
                    *("--max-examples", str(options.examples), "--seed", str(options.seed)),
                    *("--request-timeout", "60", "--continue-on-failure"),
                ],
                # schemathesis writes its findings into the working directory.
                cwd=folder,
                check=False,
            ).returncode


if __name__ == "__main__":
    sys.exit(main())
